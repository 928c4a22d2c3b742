"""A broker of our own in a container."""

from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio

from messaging.probe import accepts
from services.local import container
from services.local.container import BrokerContainer
from services.local.definitions import operator_definitions
from services.local.logins import OPERATOR, Login
from services.local.ports import LOOPBACK


@pytest.fixture
def operator() -> Login:
    return Login.generate(OPERATOR)


@pytest_asyncio.fixture
async def broker(operator: Login, tmp_path: Path) -> AsyncIterator[BrokerContainer]:
    if not await container.engine_answers():
        pytest.skip("no container engine answers to the docker command")
    if not await container.image_is_here() and not await container.pull_image():
        pytest.skip(f"the image {container.IMAGE} is not here and cannot be pulled")
    broker = BrokerContainer(tmp_path / "broker", operator_definitions(operator))
    yield broker
    await broker.kill()
    await broker.forget()


async def test_it_takes_our_login_and_no_other(broker: BrokerContainer, operator: Login) -> None:
    await broker.start(operator)

    assert await accepts(operator.url(LOOPBACK, broker.port), within=5)
    assert not await accepts(Login(OPERATOR, "wrong").url(LOOPBACK, broker.port), within=5)
    assert not await accepts(Login("guest", "guest").url(LOOPBACK, broker.port), within=5)


async def test_it_keeps_what_it_holds_over_a_stop(broker: BrokerContainer, operator: Login) -> None:
    await broker.start(operator)
    connection = await aio_pika.connect(operator.url(LOOPBACK, broker.port))
    channel = await connection.channel()
    await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    await channel.default_exchange.publish(aio_pika.Message(b"work", delivery_mode=2), "kept")
    await connection.close()
    attached = broker.process

    await broker.stop()

    assert attached is not None
    assert not attached.running
    await broker.start(operator)
    connection = await aio_pika.connect(operator.url(LOOPBACK, broker.port))
    queue = await (await connection.channel()).get_queue("kept")
    message = await queue.get(no_ack=True, timeout=10)
    await connection.close()
    assert message is not None
    assert message.body == b"work"
