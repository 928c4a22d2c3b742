"""A broker that is short of memory: it takes nothing, and nothing piles up on our side."""

import asyncio
import gc
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.errors import BacklogFullError, BrokerBlockedError, LateError
from messaging.publisher import Publisher
from messaging.subscription import Subscription, shared_queue
from messaging.topology import declare
from tests.brokers import RunningBroker
from tests.messaging.market import GATEWAY, TOPOLOGY, WORK, sell
from tests.messaging.raw import WAIT, Raw, raw_channel, until

LIMIT = 1000
DEADLINE = 1.0
FLAT = 1024 * 1024


@pytest_asyncio.fixture
async def link(conformance_amqp_url: str) -> AsyncIterator[Broker]:
    broker = Broker(conformance_amqp_url, name="alarm")
    await broker.start(WAIT)
    await declare(broker, TOPOLOGY, deadline=WAIT)
    yield broker
    await broker.close(WAIT)


@pytest_asyncio.fixture
async def raw(conformance_amqp_url: str, link: Broker) -> AsyncIterator[Raw]:
    del link
    async with raw_channel(conformance_amqp_url) as raw:
        yield raw


@asynccontextmanager
async def memory_alarm(broker: RunningBroker) -> AsyncIterator[None]:
    """The broker believes that it may use no memory at all."""
    await broker.control("set_vm_memory_high_watermark", "0")
    try:
        yield
    finally:
        await broker.control("set_vm_memory_high_watermark", "0.6")


async def _publish_many(publisher: Publisher, envelope: Envelope) -> Counter[str]:
    """What became of 5,000 at once; none takes longer than its deadline allows."""
    started = time.monotonic()
    slowest = 0.0

    async def publish() -> str:
        nonlocal slowest
        try:
            await publisher.publish(envelope, deadline=DEADLINE)
        except (BrokerBlockedError, BacklogFullError) as error:
            slowest = max(slowest, time.monotonic() - started)
            return error.code
        return "confirmed"

    results = await asyncio.gather(*(publish() for _ in range(5000)))
    assert slowest < DEADLINE + 4
    return Counter(results)


async def test_a_broker_in_a_memory_alarm_costs_no_memory_here_and_loses_nothing(
    conformance_broker: RunningBroker, link: Broker, raw: Raw
) -> None:
    publisher = Publisher(link, client_id=GATEWAY, limit=LIMIT)
    envelope = sell().envelope
    await publisher.publish(envelope, deadline=WAIT)
    async with memory_alarm(conformance_broker):
        # The broker says that it is blocked to whoever publishes, so one message is under way.
        with pytest.raises(LateError):
            await publisher.publish(envelope, deadline=3)
        await until(lambda: link.publishing.blocked)

        tracemalloc.start()
        try:
            held = []
            for _ in range(3):
                counts = await _publish_many(publisher, envelope)
                assert counts == {"broker_blocked": LIMIT, "backlog_full": 5000 - LIMIT}
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert held[-1] - held[0] < FLAT

        delivered = await _consume_one(link)
        waiting = asyncio.create_task(publisher.publish(envelope, deadline=60))

    await waiting
    assert not link.publishing.blocked
    assert delivered == envelope.body
    await raw.until_count(WORK.name, 2)  # the late one, and the one that waited


async def _consume_one(link: Broker) -> bytes:
    """What publishing waits for, consuming does not."""
    shutdown = asyncio.Event()
    work = Subscription(link, shared_queue(WORK.name), prefetch=1)
    running = asyncio.create_task(work.run(shutdown))
    async with asyncio.timeout(WAIT):
        delivery = await work.next()
    assert delivery is not None
    await delivery.ack()
    shutdown.set()
    await running
    await work.close()
    return delivery.body
