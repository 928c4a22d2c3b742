"""A look at what is on the broker, over AMQP, that changes nothing there.

AMQP compares arguments only by declaring again. That makes nothing where the object is there, so
each is looked up first, and declared only then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource

from messaging.broker import Broker
from messaging.findings import Finding, fail, ok, skip
from messaging.inequivalence import difference
from messaging.link import broker_faults
from messaging.sharding import MAX_SHARDS
from messaging.topology import CLOSE, REMEDY, Exchange, Queue, Topology, WorkQueue

CHECK: Final = "topology"

OBJECTIONS: Final = (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ChannelLockedResource,
)
"""What the broker says of an object; it closes the channel with it."""

Act = Callable[[AbstractChannel], Awaitable[object]]


class Seen(Enum):
    """How much this login can see of what is in order."""

    EQUAL = "as it must be"
    THERE = "there, with whatever arguments"
    HIDDEN = "not for this login to see"


@dataclass(frozen=True, slots=True)
class QueueCount:
    """How much lies ready in a queue, and how many consume from it."""

    messages: int
    consumers: int


async def examine_topology(broker: Broker, topology: Topology, *, deadline: float) -> list[Finding]:
    """Compare exchanges and queues with what they must be, as far as this login may.

    Raises:
        BrokerUnavailableError: the connection broke, or `deadline` (seconds) passed.
    """
    items: tuple[Exchange | Queue, ...] = (*topology.exchanges, *topology.queues)
    with broker_faults():
        async with asyncio.timeout(deadline):
            looks = [await _look(broker, item, deadline) for item in items]
    wrong = [look for look in looks if isinstance(look, Finding)]
    return wrong or [_summary(looks)]


async def count_queues(
    broker: Broker, names: Iterable[str], *, deadline: float
) -> dict[str, QueueCount]:
    """The counts of those queues that are there and that this login may see.

    Raises:
        BrokerUnavailableError: the connection broke, or `deadline` (seconds) passed.
    """
    counts: dict[str, QueueCount] = {}
    with broker_faults():
        async with asyncio.timeout(deadline):
            channel = await broker.consuming.channel(deadline)
            try:
                for name in names:
                    try:
                        found = await channel.declare_queue(name, passive=True)
                    except OBJECTIONS:  # the broker has closed the channel
                        channel = await broker.consuming.channel(deadline)
                        continue
                    result = found.declaration_result
                    counts[name] = QueueCount(result.message_count or 0, result.consumer_count or 0)
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE):
                        await channel.close()
    return counts


async def left_shards(broker: Broker, work: WorkQueue, *, deadline: float) -> dict[str, QueueCount]:
    """The queues of shards that `work` no longer has, as far as they are there.

    They are those that follow its last one, up to the first that is not there.

    Raises:
        BrokerUnavailableError: the connection broke, or `deadline` (seconds) passed.
    """
    left: dict[str, QueueCount] = {}
    for number in range(work.shards if work.sharded else 0, MAX_SHARDS):
        found = await count_queues(broker, [work.shard(number)], deadline=deadline)
        if not found:
            break
        left |= found
    return left


async def _look(broker: Broker, item: Exchange | Queue, deadline: float) -> Finding | Seen:
    kind = type(item).__name__.lower()
    found = await _try(broker, _lookup(item), deadline)
    if isinstance(found, ChannelNotFoundEntity):
        return fail(
            CHECK,
            f"{kind} {item.name} is not there; start its service, or import the definitions",
        )
    if found is not None:
        return Seen.HIDDEN
    compared = await _try(broker, _declaration(item), deadline)
    if isinstance(compared, ChannelPreconditionFailed):
        return fail(
            CHECK,
            f"{kind} {item.name} is declared otherwise: {difference(str(compared))}; that cannot "
            f"be changed in place: {REMEDY[kind]}",
        )
    return Seen.EQUAL if compared is None else Seen.THERE


def _lookup(item: Exchange | Queue) -> Act:
    if isinstance(item, Exchange):
        return lambda channel: channel.get_exchange(item.name)
    return lambda channel: channel.declare_queue(item.name, passive=True)


def _declaration(item: Exchange | Queue) -> Act:
    if isinstance(item, Exchange):
        return lambda channel: channel.declare_exchange(
            item.name, item.kind, durable=True, arguments=dict(item.arguments)
        )
    arguments: dict[str, Any] = dict(item.arguments)
    return lambda channel: channel.declare_queue(item.name, durable=True, arguments=arguments)


async def _try(broker: Broker, act: Act, deadline: float) -> Exception | None:
    """What the broker objects, if it does; it then closes the channel, so each has its own."""
    channel = await broker.consuming.channel(deadline)
    try:
        await act(channel)
    except OBJECTIONS as objection:
        return objection
    finally:
        await channel.close()
    return None


def _summary(looks: Iterable[Finding | Seen]) -> Finding:
    looks = list(looks)
    equal, there = looks.count(Seen.EQUAL), looks.count(Seen.THERE)
    said = f"{equal} of {len(looks)} exchanges and queues are as they must be"
    if equal == len(looks):
        return ok(CHECK, f"all {equal} exchanges and queues are as they must be")
    return skip(
        CHECK,
        f"{said}; of {there} more only that they are there can be seen with this login, of "
        f"{len(looks) - equal - there} nothing; give the operator's: CARNET_OPERATOR_URL",
    )
