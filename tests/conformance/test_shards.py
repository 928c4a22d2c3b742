"""What a broker makes of the shards of a work queue, on each kind of broker."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.definitions import examine_definitions
from messaging.findings import Finding, Verdict
from messaging.inspection import examine_topology, left_shards
from messaging.sharding import SHARD
from messaging.topology import (
    COMMANDS,
    DEAD,
    RETRY,
    Topology,
    WorkQueue,
    declare,
)
from tests.brokers import RunningBroker
from tests.messaging.raw import WAIT, Raw, raw_channel

KEY: Final = "market.sell"


def work(shards: int) -> WorkQueue:
    return WorkQueue("market.commands", shards)


def topology(shards: int) -> Topology:
    queue = work(shards)
    return Topology(
        exchanges=(COMMANDS, RETRY, DEAD, *queue.exchanges()),
        queues=queue.queues(),
        bindings=(*queue.serving(COMMANDS, KEY), *queue.bindings()),
        gone=queue.gone(COMMANDS, KEY),
    )


@pytest_asyncio.fixture
async def broker(conformance_amqp_url: str) -> AsyncIterator[Broker]:
    """Connected, with nothing on it."""
    broker = await Broker(conformance_amqp_url, name="test").start(WAIT)
    yield broker
    await broker.close(WAIT)


@pytest_asyncio.fixture
async def raw(conformance_amqp_url: str) -> AsyncIterator[Raw]:
    async with raw_channel(conformance_amqp_url) as raw:
        yield raw


async def send(raw: Raw, shard: str | None, body: bytes = b"", exchange: str = "") -> None:
    """As to the exchange of commands, or to another one under the name of the work queue."""
    key = work(1).name if exchange else KEY
    headers: dict[str, Any] = {} if shard is None else {SHARD: shard}
    await raw.publish(exchange or COMMANDS.name, key, body, headers=headers)


async def counts(raw: Raw, shards: int) -> dict[str, int]:
    return {name: n for name in work(shards).consumed if (n := await raw.count(name))}


async def test_each_shard_takes_what_names_it_and_the_queue_itself_all_else(
    broker: Broker, raw: Raw
) -> None:
    await declare(broker, topology(4), deadline=WAIT)

    for shard in ("0", "1", "1", "3", "4", "01", "", None):
        await send(raw, shard)

    await raw.until_count("market.commands", 4)
    assert await counts(raw, 4) == {
        "market.commands": 4,
        "market.commands.0": 1,
        "market.commands.1": 2,
        "market.commands.3": 1,
    }


async def test_what_is_sent_to_the_work_queue_again_comes_to_its_shard(
    broker: Broker, raw: Raw
) -> None:
    """As a release is; and as the broker itself sends what has waited for its retry."""
    await declare(broker, topology(4), deadline=WAIT)
    (first, *_) = work(4).retries

    await send(raw, "2", b"release", exchange=RETRY.name)
    await raw.publish(RETRY.name, first.name, b"retry", headers={SHARD: "3"})

    assert (await raw.next("market.commands.2")).body == b"release"
    assert (await raw.next("market.commands.3")).body == b"retry"
    assert await counts(raw, 4) == {}


@pytest.mark.parametrize("before", [1, 2, 8])
async def test_another_number_of_shards_takes_over_without_a_message_lost_or_twice(
    broker: Broker, raw: Raw, before: int
) -> None:
    await declare(broker, topology(before), deadline=WAIT)
    await send(raw, "0" if before > 1 else None, b"old")
    await declare(broker, topology(4), deadline=WAIT)
    await declare(broker, topology(4), deadline=WAIT)

    for shard in range(8):
        await send(raw, str(shard), b"new")

    old = "market.commands.0" if before > 1 else "market.commands"
    assert (await raw.next(old)).body == b"old"
    await raw.until_count("market.commands", 4)
    assert await counts(raw, 4) == {
        "market.commands": 4,
        **{f"market.commands.{shard}": 1 for shard in range(4)},
    }
    left = await left_shards(broker, work(4), deadline=WAIT)
    assert list(left) == [f"market.commands.{shard}" for shard in range(4, before)]
    assert all(count.messages == 0 for count in left.values())


async def test_one_shard_again_is_as_it_was_at_first(broker: Broker, raw: Raw) -> None:
    await declare(broker, topology(4), deadline=WAIT)
    await send(raw, "3", b"left")
    await declare(broker, topology(1), deadline=WAIT)

    await send(raw, "3")
    await send(raw, None)
    await send(raw, "3", exchange=RETRY.name)

    await raw.until_count("market.commands", 3)
    left = await left_shards(broker, work(1), deadline=WAIT)
    assert [count.messages for count in left.values()] == [0, 0, 0, 1]


async def test_shards_that_are_declared_as_they_must_be_are_found_so(
    broker: Broker, conformance_broker: RunningBroker, conformance_vhost: str
) -> None:
    await declare(broker, topology(4), deadline=WAIT)

    (found,) = await examine_topology(broker, topology(4), deadline=WAIT)
    (written,) = await examine_written(conformance_broker, conformance_vhost, topology(4))

    assert (found.verdict, written.verdict) == (Verdict.OK, Verdict.OK)


async def test_an_exchange_that_sends_what_names_no_shard_nowhere_is_noticed(
    broker: Broker, conformance_broker: RunningBroker, conformance_vhost: str
) -> None:
    four = topology(4)
    *others, by_shard = four.exchanges
    careless = replace(four, exchanges=(*others, replace(by_shard, alternate=None)))
    await declare(broker, careless, deadline=WAIT)

    (found,) = await examine_topology(broker, four, deadline=WAIT)
    written = await examine_written(conformance_broker, conformance_vhost, four)

    assert found.verdict is Verdict.FAIL
    assert "alternate-exchange is missing and must be" in found.detail
    assert any("its arguments must be" in each.detail for each in written)


async def test_a_queue_that_is_still_bound_as_before_is_noticed(
    broker: Broker, conformance_broker: RunningBroker, conformance_vhost: str
) -> None:
    """Its login may bind and unbind nothing, or it was not asked."""
    await declare(broker, topology(1), deadline=WAIT)
    await declare(broker, replace(topology(4), gone=()), deadline=WAIT)

    written = await examine_written(conformance_broker, conformance_vhost, topology(4))

    assert [each.verdict for each in written] == [Verdict.FAIL] * 2
    assert "queue market.commands is still bound to carnet.commands" in written[0].detail
    assert "carnet shards" in written[0].detail


async def test_a_shard_that_nothing_is_bound_to_is_noticed(
    broker: Broker, conformance_broker: RunningBroker, conformance_vhost: str, raw: Raw
) -> None:
    await declare(broker, topology(4), deadline=WAIT)
    queue = await raw.channel.get_queue("market.commands.2")
    exchange = topology(4).exchanges[-1].name
    await queue.unbind(exchange, "", arguments={"x-match": "all", SHARD: "2"})

    (found,) = await examine_written(conformance_broker, conformance_vhost, topology(4))

    assert found.verdict is Verdict.FAIL
    assert f"queue market.commands.2 is not bound to {exchange} under {SHARD}=2" in found.detail


async def examine_written(broker: RunningBroker, vhost: str, wanted: Topology) -> list[Finding]:
    """What the broker's own definitions tell."""
    async with broker.management() as api:
        answer = await api.get(f"/definitions/{vhost}")
    return examine_definitions(answer.raise_for_status().json(), wanted)
