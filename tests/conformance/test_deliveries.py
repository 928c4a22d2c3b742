"""What becomes of deliveries on any broker: how many at once, in which order, and how often."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio

from messaging.broker import Broker
from messaging.delivery import Delivery
from messaging.subscription import Subscription, shared_queue
from messaging.topology import declare
from tests.messaging.conftest import started_broker
from tests.messaging.market import TOPOLOGY, WORK
from tests.messaging.raw import WAIT, Raw, raw_channel, until
from tests.messaging.wire import Wire, wire_to


@pytest_asyncio.fixture
async def wire(conformance_amqp_url: str) -> AsyncIterator[Wire]:
    async with wire_to(conformance_amqp_url) as wire:
        yield wire


@pytest_asyncio.fixture
async def link(wire: Wire) -> AsyncIterator[Broker]:
    async with started_broker(wire.url) as broker:
        yield broker


@pytest_asyncio.fixture
async def raw(conformance_amqp_url: str, link: Broker) -> AsyncIterator[Raw]:
    del link
    async with raw_channel(conformance_amqp_url) as raw:
        yield raw


@asynccontextmanager
async def consuming(link: Broker, *, prefetch: int = 10) -> AsyncIterator[Subscription]:
    """A subscription to the work queue, ended and closed as a consumer does it."""
    shutdown = asyncio.Event()
    work = Subscription(link, shared_queue(WORK.name), prefetch=prefetch)
    running = asyncio.create_task(work.run(shutdown))
    try:
        await work.wait_until_ready(WAIT)
        yield work
    finally:
        shutdown.set()
        await running
        await work.close()


async def send(raw: Raw, *bodies: str) -> None:
    for body in bodies:
        await raw.publish("carnet.commands", "market.sell", body.encode())


async def take(work: Subscription) -> Delivery:
    async with asyncio.timeout(WAIT):
        delivery = await work.next()
    assert delivery is not None
    return delivery


async def test_no_more_is_handed_over_than_was_asked_for(link: Broker, raw: Raw) -> None:
    """Back-pressure: the rest waits in the queue, not in our memory."""
    await send(raw, *(str(number) for number in range(5)))
    async with consuming(link, prefetch=2) as work:
        first, second = await take(work), await take(work)
        await raw.until_count(WORK.name, 3)
        assert (first.body, second.body) == (b"0", b"1")

        await first.ack()

        assert (await take(work)).body == b"2"
        await raw.until_count(WORK.name, 2)


async def test_what_is_given_back_lies_in_the_queue_as_it_lay_before(
    link: Broker, raw: Raw
) -> None:
    bodies = [str(number) for number in range(8)]
    await send(raw, *bodies)
    async with consuming(link) as work:
        registration = await work.wait_until_ready(WAIT)
        await until(lambda: len(registration.unsettled) == len(bodies))
        await (await take(work)).ack()

    returned = [await raw.next(WORK.name) for _ in bodies[1:]]
    assert [message.body.decode() for message in returned] == bodies[1:]
    assert all(message.redelivered for message in returned)
    assert await raw.count(WORK.name) == 0


async def test_only_what_was_handed_over_before_is_marked_as_redelivered(
    link: Broker, raw: Raw
) -> None:
    """A publisher cannot set the mark, and a wait for a retry does not."""
    counts = {"x-delivery-count": 7, "x-acquired-count": 7}
    await raw.publish("carnet.commands", "market.sell", b"first", headers=counts)
    await raw.publish("carnet.retry", WORK.retries[0].name, b"retried")
    async with consuming(link) as work:
        first = await take(work)
        assert (first.body, first.redelivered) == (b"first", False)
        retried = await take(work)
        assert (retried.body, retried.redelivered, retried.returned) == (b"retried", False, True)

        await first.nack()

        again = await take(work)
        assert (again.body, again.redelivered) == (b"first", True)


async def test_a_lost_channel_s_deliveries_come_again_and_are_settled_only_on_the_new_one(
    link: Broker, raw: Raw, wire: Wire
) -> None:
    """Tags count from 1 on each channel: an old one would settle another message."""
    await send(raw, "0", "1")
    async with consuming(link) as work:
        old = await take(work)
        lost = old.registration
        wire.cut()
        await until(lost.lost.is_set)
        assert not old.live
        await work.wait_until_ready(WAIT)
        new = await take(work)
        assert (new.body, new.redelivered, new.tag) == (b"0", True, old.tag)

        await old.ack()
        await old.nack()

        assert new.live
        assert old.registration.underlay is not new.registration.underlay

    assert [(await raw.next(WORK.name)).body for _ in range(2)] == [b"0", b"1"]


async def test_what_was_settled_before_the_channel_was_lost_does_not_come_again(
    link: Broker, raw: Raw, wire: Wire
) -> None:
    await send(raw, "0", "1")
    async with consuming(link) as work:
        done = await take(work)
        await done.ack()
        # The broker has seen it: what it hands over next, it hands over after it.
        await send(raw, "2")
        while (await take(work)).body != b"2":
            pass
        wire.cut()
        await until(done.registration.lost.is_set)
        await work.wait_until_ready(WAIT)

        assert [(await take(work)).body for _ in range(2)] == [b"1", b"2"]


async def test_a_consumer_whose_queue_was_deleted_gets_what_comes_to_the_new_one(
    link: Broker, raw: Raw
) -> None:
    async with consuming(link) as work:
        registration = await work.wait_until_ready(WAIT)
        await raw.channel.queue_delete(WORK.name)
        await until(registration.lost.is_set)

        await declare(link, TOPOLOGY, deadline=WAIT)

        await work.wait_until_ready(WAIT)
        await send(raw, "0")
        assert (await take(work)).body == b"0"


async def test_headers_of_a_size_that_we_would_not_send_cost_no_connection(
    link: Broker, raw: Raw
) -> None:
    """Whoever may publish may send nearly a frame of them (128 KiB)."""
    await raw.publish("carnet.commands", "market.sell", b"0", headers={"note": "x" * 100_000})
    await send(raw, "1")
    async with consuming(link) as work:
        heavy, light = await take(work), await take(work)

        assert len(str(heavy.headers["note"])) == 100_000
        assert (heavy.registration, light.body) == (light.registration, b"1")
        assert heavy.live
