"""What is acknowledged at once is what was done with, and not one more."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.delivery import Delivery
from messaging.publisher import Publisher
from messaging.subscription import Subscription, shared_queue
from tests.messaging.market import WORK, sell
from tests.messaging.raw import WAIT, Raw, until
from tests.messaging.wire import Wire

MANY = 30


@pytest.fixture
def shutdown() -> asyncio.Event:
    return asyncio.Event()


@pytest_asyncio.fixture
async def subscription(link: Broker, shutdown: asyncio.Event) -> AsyncIterator[Subscription]:
    """To the work queue, with room for all."""
    subscription = Subscription(link, shared_queue(WORK.name), prefetch=2 * MANY)
    running = asyncio.create_task(subscription.run(shutdown))
    await subscription.wait_until_ready(WAIT)
    yield subscription
    shutdown.set()
    await running
    await subscription.close()


async def arrived(
    publisher: Publisher, subscription: Subscription, count: int = MANY
) -> list[Delivery]:
    """So many deliveries, in their order."""
    for number in range(count):
        await publisher.publish(sell(str(number)).envelope, deadline=WAIT)
    deliveries: list[Delivery] = []
    async with asyncio.timeout(WAIT):
        while len(deliveries) < count:
            deliveries += await subscription.next_few(count)
    return deliveries


async def left(subscription: Subscription, shutdown: asyncio.Event, raw: Raw) -> list[bytes]:
    """What the broker still holds, once it has taken back what was not settled."""
    assert subscription.registration is not None
    unsettled = len(subscription.registration.unsettled)
    shutdown.set()
    await subscription.close()
    await raw.until_count(WORK.name, unsettled)
    return [message.body for message in await raw.take(WORK.name)]


@pytest.mark.parametrize("seed", range(6))
async def test_in_whatever_order_and_company_they_are_settled(
    publisher: Publisher, subscription: Subscription, shutdown: asyncio.Event, raw: Raw, seed: int
) -> None:
    deliveries = await arrived(publisher, subscription)
    chance = random.Random(seed)  # noqa: S311 - which seed it was is told
    mixed = chance.sample(deliveries, MANY)
    unsettled, mixed = mixed[: seed * 2], mixed[seed * 2 :]
    registration = deliveries[0].registration

    async with asyncio.TaskGroup() as group:
        while mixed:
            size = chance.randint(1, 6)
            some, mixed = mixed[:size], mixed[size:]
            group.create_task(registration.ack(some))

    kept = sorted(delivery.body for delivery in unsettled)
    assert sorted(await left(subscription, shutdown, raw)) == kept


async def test_the_first_ones_in_one_go_leave_the_others(
    publisher: Publisher, subscription: Subscription, shutdown: asyncio.Event, raw: Raw
) -> None:
    deliveries = await arrived(publisher, subscription)

    await deliveries[0].registration.ack(deliveries[:10])

    kept = [delivery.body for delivery in deliveries[10:]]
    assert sorted(await left(subscription, shutdown, raw)) == sorted(kept)


async def test_one_that_is_given_back_before_them_is_not_acknowledged(
    publisher: Publisher, subscription: Subscription
) -> None:
    """Only its own place is free then: those after it may go in one go."""
    deliveries = await arrived(publisher, subscription)

    await asyncio.gather(deliveries[0].nack(), deliveries[0].registration.ack(deliveries[1:]))

    async with asyncio.timeout(WAIT):
        again = await subscription.next()
    assert again is not None
    assert (again.body, again.redelivered) == (deliveries[0].body, True)
    await again.ack()
    assert again.registration.unsettled == {}


async def test_what_is_settled_is_not_settled_again(
    publisher: Publisher, subscription: Subscription, shutdown: asyncio.Event, raw: Raw
) -> None:
    """An unknown delivery tag would close the channel."""
    deliveries = await arrived(publisher, subscription, 4)
    registration = deliveries[0].registration

    await registration.ack(deliveries[1:3])
    await registration.ack(deliveries[:3])
    await deliveries[1].nack()
    await registration.ack(deliveries[:3])

    await registration.underlay.basic_qos(prefetch_count=1)  # answered, so the channel is open
    assert await left(subscription, shutdown, raw) == [deliveries[3].body]


async def test_what_came_on_a_lost_channel_is_not_settled_on_the_next_one(
    publisher: Publisher, subscription: Subscription, wire: Wire
) -> None:
    """The tags of the next one begin anew: they would name other messages."""
    before = await arrived(publisher, subscription, 5)
    wire.cut()
    await until(before[0].registration.lost.is_set)
    async with asyncio.timeout(WAIT):
        again: list[Delivery] = []
        while len(again) < len(before):
            again += await subscription.next_few(5)

    await before[0].registration.ack(before)
    await again[0].registration.ack([*before, again[0]])

    assert {delivery.tag for delivery in before} == {delivery.tag for delivery in again}
    assert list(again[0].registration.unsettled.values()) == again[1:]
    await again[0].registration.ack(again[1:])
