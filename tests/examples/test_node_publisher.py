"""The Node.js publisher: its order is one that the order service takes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import aio_pika
import pytest
import pytest_asyncio
from sqlalchemy import select

from messaging.database import open_database
from messaging.topology import COMMANDS, EVENTS
from services.local.logins import OPERATOR, Login
from services.local.stack import LocalStack
from services.orders.tables import ORDERS
from tests.brokers import VhostBroker
from tests.examples.node import IMPORTER, WITHIN, running

pytestmark = pytest.mark.node

ORDER: Final = {
    "currency": "EUR",
    "lines": [{"sku": "tea-earl-grey", "quantity": 3, "unit_price": "4.20"}],
}


def settings(stack: LocalStack, broker: VhostBroker, login: Login) -> dict[str, str]:
    return {
        "CARNET_AMQP_URL": broker.broker.url(broker.vhost, login),
        "CARNET_GATEWAY_URL": stack.gateway_url,
        "CARNET_TRUST_ROOT": str(stack.state / "trust-root.json"),
        "CARNET_KEY_SET": str(stack.state / "key-set.jwt"),
        "CARNET_KEYS": str(stack.state / "keys" / IMPORTER),
    }


async def stored(stack: LocalStack, order_id: str) -> Any:
    """The order's row; None where there is none."""
    database = open_database(f"sqlite+aiosqlite:///{stack.state / 'data' / 'orders.db'}")
    try:
        async with database.session() as session:
            return (await session.execute(select(ORDERS).filter_by(id=order_id))).first()
    finally:
        await database.close()


@pytest_asyncio.fixture
async def next_event(stack: LocalStack) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
    """What the order service tells next."""
    connection = await aio_pika.connect(stack.amqp_url(OPERATOR))
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS.name, "orders.#")
        async with queue.iterator() as events:

            async def next_event() -> dict[str, Any]:
                async with asyncio.timeout(WITHIN):
                    event = await anext(events)
                await event.ack()
                return {"type": event.type, **json.loads(event.body)}

            yield next_event


async def test_its_order_is_stored_as_the_services_own(
    stack: LocalStack,
    vhost_broker: VhostBroker,
    importer: Login,
    next_event: Callable[[], Awaitable[dict[str, Any]]],
) -> None:
    told = settings(stack, vhost_broker, importer)
    async with running("node-publisher", told, json.dumps(ORDER)) as example:
        published = await example.says("published")
        assert await example.ends() == 0

    event = await next_event()

    assert (event["type"], event["order_id"]) == ("orders.placed.v1", published["id"])
    assert event["total"] == "12.60"
    row = await stored(stack, published["id"])
    assert (row.subject, row.state) == (f"service:{IMPORTER}", "placed")


async def test_an_order_that_is_none_is_refused_by_the_order_service(
    stack: LocalStack,
    vhost_broker: VhostBroker,
    importer: Login,
    next_event: Callable[[], Awaitable[dict[str, Any]]],
) -> None:
    """Genuine, and not what its type promises: the consumer says so, not the publisher."""
    told = settings(stack, vhost_broker, importer)
    nothing = json.dumps({**ORDER, "lines": []})
    async with running("node-publisher", told, nothing) as example:
        published = await example.says("published")

    event = await next_event()

    assert (event["type"], event["code"]) == ("orders.refused.v1", "invalid_body")
    assert event["order_id"] == published["id"]
    assert await stored(stack, published["id"]) is None


async def test_a_login_without_the_rights_of_the_page_gets_nowhere(
    stack: LocalStack, vhost_broker: VhostBroker, importer: Login
) -> None:
    """The rights are the least: without the routing key of its order nothing is published."""
    allow = ("set_topic_permissions", "-p", vhost_broker.vhost, IMPORTER, COMMANDS.name)
    await vhost_broker.broker.control(*allow, "(?!)", "(?!)")
    told = settings(stack, vhost_broker, importer)
    async with running("node-publisher", told, json.dumps(ORDER)) as example:
        await example.says("carnet")
        ended = await example.ends()
    await vhost_broker.broker.control(*allow, r"^orders\.place$", "(?!)")

    assert ended != 0
