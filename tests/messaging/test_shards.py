"""One consumer on several queues at once."""

from dataclasses import replace

import pytest_asyncio

from messaging.broker import Broker
from messaging.consumer import CommandConsumer
from messaging.sharding import SHARD
from messaging.topology import declare
from tests.conformance.test_shards import topology, work
from tests.messaging.market import TOPOLOGY as MARKET_TOPOLOGY
from tests.messaging.market import Message, Sell, sell
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import Stall

TWO = work(2)
EACH = 10


@pytest_asyncio.fixture
async def sharded(stall: Stall, link: Broker) -> Stall:
    """A stall with two shards, not yet consuming."""
    await declare(link, replace(topology(2), gone=MARKET_TOPOLOGY.bindings[:1]), deadline=WAIT)
    stall.consumer = CommandConsumer(TWO)
    stall._register(together=True)
    return stall


def messages(shard: int) -> list[Message]:
    extra = ((SHARD, str(shard)),)
    return [sell(f"{shard}: {number}").but(extra=extra) for number in range(EACH)]


async def test_all_shards_together_are_given_no_more_ahead_than_one_queue(sharded: Stall) -> None:
    sharded.trust.silent = True
    await sharded.open(prefetch=9)
    await sharded.send(*messages(0), *messages(1))

    await until(lambda: sharded.waiting() == 6)  # three each, and three of what has no shard
    sharded.trust.silent = False
    await sharded.settled(2 * EACH)

    assert sharded.consumer.counts == {"done": 2 * EACH}


async def test_what_came_on_a_lost_channel_holds_up_nothing_that_came_on_another(
    sharded: Stall,
) -> None:
    """They were waiting together, for trust to be back."""
    sharded.trust.silent = True
    await sharded.open()
    await sharded.send(*messages(1), *messages(0))
    await until(lambda: sharded.waiting() == 2 * EACH)

    await sharded.raw.channel.queue_delete(TWO.shard(0))
    await until(lambda: not sharded.consumer.ready)
    sharded.trust.silent = False

    await sharded.settled(EACH)
    sold = await sharded.sales()
    assert {f"1: {number}" for number in range(EACH)} <= set(sold)


async def test_who_shared_with_what_came_on_a_lost_channel_is_handled_all_the_same(
    sharded: Stall,
) -> None:
    """The first of each channel fails beside the others, and is done by itself: one can not be."""

    async def lose_a_channel_and_fail(command: Sell) -> None:
        if command.what == "0: 0":
            await sharded.raw.channel.queue_delete(TWO.shard(0))
            await until(lambda: not sharded.consumer.ready)
        if command.what.endswith(": 0") and sharded.starts.count(command.what) == 1:
            raise ZeroDivisionError

    sharded.before = lose_a_channel_and_fail
    sharded.trust.silent = True
    await sharded.open()
    await sharded.send(sell("first").but(extra=((SHARD, "1"),)))
    await until(lambda: sharded.waiting() == 1)
    await sharded.send(*messages(0), *messages(1))
    await until(lambda: sharded.waiting() == 1 + 2 * EACH)
    sharded.trust.silent = False

    await sharded.settled(2 * EACH)
    await until(lambda: sharded.waiting() == 0)
    assert {f"1: {number}" for number in range(EACH)} <= set(await sharded.sales())


async def test_what_is_in_hand_at_a_stop_goes_back_to_its_own_shard_in_order(
    sharded: Stall,
) -> None:
    sharded.trust.silent = True
    await sharded.open(drain=0.1)
    await sharded.send(*messages(0), *messages(1))
    await until(lambda: sharded.waiting() == 2 * EACH)

    await sharded.close()

    for shard in range(2):
        await sharded.raw.until_count(TWO.shard(shard), EACH)
        back = [each.body for each in await sharded.raw.take(TWO.shard(shard))]
        assert back == [message.envelope.body for message in messages(shard)]
