"""A broker that is killed and comes back: nothing confirmed is lost, nothing grows, all return.

The node is a private one of this module's own, so that no other test notices.
"""

import asyncio
import gc
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.errors import BacklogFullError, BrokerUnavailableError, MessagingError
from messaging.publisher import Publisher
from messaging.subscription import Subscription, shared_queue
from messaging.topology import declare
from services.local.definitions import operator_definitions
from services.local.errors import LocalError
from services.local.installation import find_installation
from services.local.logins import OPERATOR, Login
from services.local.node import PrivateNode
from services.local.ports import LOOPBACK
from tests.messaging.market import GATEWAY, TOPOLOGY, WORK, Sell, sell
from tests.messaging.raw import WAIT, until

MESSAGES = int(os.environ.get("CARNET_RECONNECT_MESSAGES", "1000"))
"""Watermill's own test has 10,000: `make bench`."""

PUBLISHERS = 100
PATIENCE = 300.0
FLAT = 1024 * 1024

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Node:
    """A broker that a test may end at any time, and start again at the same address."""

    process: PrivateNode
    operator: Login

    @property
    def url(self) -> str:
        return self.operator.url(LOOPBACK, self.process.port)

    async def restart(self) -> None:
        """As a power cut would, and back."""
        await self.process.kill()
        await self.start()

    async def start(self) -> None:
        await self.process.start(self.operator, within=120)


@pytest_asyncio.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    installation = find_installation()
    if installation is None or not installation.new_enough:
        pytest.skip("rabbitmq-server 3.10 or newer is not installed")
    operator = Login.generate(OPERATOR)
    folder = tmp_path_factory.mktemp("outages")
    node = Node(PrivateNode(installation, folder, operator_definitions(operator)), operator)
    try:
        await node.start()
    except LocalError as error:
        pytest.skip(f"no private node: {error}")
    yield node
    await node.process.kill()


@dataclass
class Listener:
    """Consumes the work queue and notes what came."""

    link: Broker
    received: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.work = Subscription(self.link, shared_queue(WORK.name), prefetch=200)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        shutdown = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.work.run(shutdown))
            tasks.create_task(self._receive())
            try:
                await self.work.wait_until_ready(WAIT)
                yield
            finally:
                shutdown.set()
        await self.work.close()

    async def _receive(self) -> None:
        while (delivery := await self.work.next()) is not None:
            self.received[Sell.from_body(delivery.body).what] += 1
            await delivery.ack()


@asynccontextmanager
async def connected(node: Node) -> AsyncIterator[Broker]:
    link = await Broker(node.url, name="outage").start(WAIT)
    try:
        await declare(link, TOPOLOGY, deadline=WAIT)
        yield link
    finally:
        await link.close(WAIT)


async def test_all_is_received_though_the_broker_restarts_twice(node: Node) -> None:
    """A hundred publish at once; the node is killed at one third, and at one half."""
    envelope = sell().envelope
    confirmed = 0
    due = asyncio.Event()
    marks = [MESSAGES // 3, MESSAGES // 2]

    async def publish(publisher: Publisher, number: int) -> None:
        """One publisher's share, each message again until it is confirmed."""
        nonlocal confirmed
        for each in range(number, MESSAGES, PUBLISHERS):
            message = replace(envelope, body=Sell(what=str(each)).to_body())
            while True:
                try:
                    await publisher.publish(message, deadline=10)
                    break
                except MessagingError:
                    await asyncio.sleep(0.05)  # a moment for the others
            confirmed += 1
            if marks and confirmed >= marks[0]:
                due.set()

    async with connected(node) as link, asyncio.timeout(PATIENCE):
        listener = Listener(link)
        publisher = Publisher(link, client_id=GATEWAY)
        async with listener.running(), asyncio.TaskGroup() as tasks:
            for number in range(PUBLISHERS):
                tasks.create_task(publish(publisher, number))
            while marks:
                await due.wait()
                marks.pop(0)
                due.clear()
                await node.restart()
            while len(listener.received) < MESSAGES:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.05)

    assert confirmed == MESSAGES
    assert set(listener.received) == {str(number) for number in range(MESSAGES)}


async def test_an_outage_costs_no_memory_and_everybody_is_back_after_it(node: Node) -> None:
    """Five thousand want to publish while the broker is away, three times over."""
    envelope = replace(sell().envelope, body=Sell(what="during the outage").to_body())
    async with connected(node) as link:
        listener = Listener(link)
        publisher = Publisher(link, client_id=GATEWAY)
        async with listener.running():
            await node.process.kill()
            await until(lambda: not link.connected and not listener.work.ready)

            held = []
            tracemalloc.start()
            try:
                for _ in range(3):
                    assert await _flood(publisher, envelope) == {
                        BrokerUnavailableError: 1000,
                        BacklogFullError: 4000,
                    }
                    gc.collect()
                    held.append(tracemalloc.get_traced_memory()[0])
            finally:
                tracemalloc.stop()
            assert held[-1] - held[0] < FLAT

            await node.start()
            await publisher.publish(
                replace(envelope, body=Sell(what="after it").to_body()), deadline=WAIT
            )
            await until(lambda: "after it" in listener.received)

        assert "during the outage" not in listener.received


async def _flood(publisher: Publisher, envelope: Envelope) -> Counter[type[Exception]]:
    """What 5,000 at once were answered, none of them long after its deadline."""
    began = time.monotonic()

    async def publish() -> type[Exception]:
        try:
            await publisher.publish(envelope, deadline=1)
        except MessagingError as error:
            assert time.monotonic() - began < 20
            return type(error)
        raise AssertionError("published without a broker")

    return Counter(await asyncio.gather(*(publish() for _ in range(5000))))
