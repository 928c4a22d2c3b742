"""Exchanges, queues and bindings as data, and how they come to be on the broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeVar

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from messaging.broker import Broker
from messaging.errors import (
    BrokerUnavailableError,
    MissingTopologyError,
    TopologyError,
    TopologyMismatchError,
)
from messaging.inequivalence import difference
from messaging.link import broker_faults

T = TypeVar("T")
ExchangeKind = Literal["topic", "direct", "fanout"]

CLOSE: Final = 3.0
"""Seconds for the broker to close a channel."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: ExchangeKind


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue with its `x-` arguments."""

    name: str
    arguments: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """What `exchange` receives under `routing_key` goes to `queue`."""

    queue: str
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """A set of broker objects. The sum of two holds each object once."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def __add__(self, other: "Topology") -> "Topology":
        return Topology(
            _once(self.exchanges + other.exchanges),
            _once(self.queues + other.queues),
            _once(self.bindings + other.bindings),
        )


def _once(objects: tuple[T, ...]) -> tuple[T, ...]:
    kept: list[T] = []
    for item in objects:
        if item not in kept:
            kept.append(item)
    return tuple(kept)


COMMANDS: Final = Exchange("carnet.commands", "topic")
EVENTS: Final = Exchange("carnet.events", "topic")
RPC: Final = Exchange("carnet.rpc", "direct")
REPLY: Final = Exchange("carnet.reply", "topic")
RETRY: Final = Exchange("carnet.retry", "direct")
DEAD: Final = Exchange("carnet.dead", "direct")
TRUST: Final = Exchange("carnet.trust", "fanout")
CLOCK: Final = Exchange("carnet.clock", "direct")
"""Through which a process asks what time the broker has (`messaging.broker_clock`)."""

RETRY_DELAYS: Final[Mapping[str, timedelta]] = {
    "1s": timedelta(seconds=1),
    "5s": timedelta(seconds=5),
    "30s": timedelta(seconds=30),
    "2m": timedelta(minutes=2),
    "10m": timedelta(minutes=10),
}
"""The waits between the attempts at one message, in order, by the name their queue ends in."""

DELIVERY_LIMIT: Final = 1000
"""A backstop only: the broker counts prefetched neighbours of a crash too."""

NO_LIMIT: Final = 2_000_000_000
"""For queues that only wait or keep: RabbitMQ 4 drops, where no limit is set, what was handed
out 20 times, and an operator may look at a dead letter more often. (3.10 knows no -1.)"""

QUORUM: Final[Mapping[str, str | int]] = {
    "x-queue-type": "quorum",
    "x-quorum-initial-group-size": 3,
    "x-consumer-disconnected-timeout": 1000,
}
"""Replicated on three nodes of a cluster, so that one may be lost; a single broker holds the one
replica that it can. What a consumer had in hand that was connected to the lost node is handed out
again after 1 s: RabbitMQ 4.3 would wait for 60 s, lest it be done twice, which the inbox sees to;
older ones wait for nothing."""

MAX_REQUEST_LIFE: Final = timedelta(seconds=60)
"""No request waits longer, whatever its publisher asked for."""


@dataclass(frozen=True, slots=True)
class RetryQueue:
    """Where a message waits for `delay` before it returns to its work queue."""

    name: str
    delay: timedelta


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """A queue of commands with its retry queues and its dead letters.

    All are quorum queues. What the broker itself moves (after a wait, or beyond the delivery
    limit) it moves at least once, which needs `reject-publish`, and through exchanges that a
    service may write to, never the default exchange.
    """

    name: str

    @property
    def dead(self) -> str:
        """Name of the dead letter queue, and its routing key in `carnet.dead`."""
        return f"{self.name}.dead"

    @property
    def retries(self) -> tuple[RetryQueue, ...]:
        """One queue for each delay; its name is its routing key in `carnet.retry`."""
        return tuple(
            RetryQueue(f"{self.name}.retry.{label}", delay) for label, delay in RETRY_DELAYS.items()
        )

    def queues(self) -> tuple[Queue, ...]:
        """The work queue, its dead letters, its retry queues."""
        return (
            Queue(
                self.name,
                {
                    **QUORUM,
                    "x-delivery-limit": DELIVERY_LIMIT,
                    **_moved_to(DEAD, self.dead),
                },
            ),
            Queue(self.dead, {**QUORUM, "x-delivery-limit": NO_LIMIT}),
            *(
                Queue(
                    retry.name,
                    {
                        **QUORUM,
                        "x-delivery-limit": NO_LIMIT,
                        # Of the queue, not of each message: a long wait in front would hold
                        # up the short ones behind it.
                        "x-message-ttl": int(retry.delay.total_seconds() * 1000),
                        **_moved_to(RETRY, self.name),
                    },
                )
                for retry in self.retries
            ),
        )

    def bindings(self) -> tuple[Binding, ...]:
        """All but the bindings to the routing keys that the queue serves."""
        return (
            Binding(self.dead, DEAD.name, self.dead),
            Binding(self.name, RETRY.name, self.name),
            *(Binding(retry.name, RETRY.name, retry.name) for retry in self.retries),
        )


def _moved_to(exchange: Exchange, routing_key: str) -> dict[str, str | int]:
    return {
        "x-dead-letter-exchange": exchange.name,
        "x-dead-letter-routing-key": routing_key,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def rpc_queue(name: str) -> Queue:
    """A queue of requests, for all replicas of the service that answers them.

    A quorum queue although what it holds is transient and soon expires: a classic one is down for
    as long as its node is, and whoever consumes from it or declares it then waits without an
    answer.
    """
    return Queue(
        name,
        {
            **QUORUM,
            "x-message-ttl": int(MAX_REQUEST_LIFE.total_seconds() * 1000),
        },
    )


REMEDY: Final = {
    "exchange": "delete it and start again, so that it is made anew with its bindings",
    "queue": "let it run empty (or move its messages), delete it and start again",
}


async def declare(broker: Broker, topology: Topology, *, deadline: float) -> None:
    """Make every object that is not there yet, within `deadline` seconds in all.

    Declaring what exists changes nothing. Where this login may not declare, the object must
    exist already. What it may not even look at (bindings; on RabbitMQ 4.3 also exchanges and
    queues to which it has no right at all) is left to the broker's definitions.

    Raises:
        TopologyMismatchError: an object exists with other arguments.
        MissingTopologyError: an object does not exist and this login may not make it.
        BrokerUnavailableError: the connection broke, or the deadline passed.
    """
    with broker_faults(passing=(TopologyError,)):
        async with asyncio.timeout(deadline):
            for exchange in topology.exchanges:
                await _declare_exchange(broker, exchange, deadline)
            for queue in topology.queues:
                await _declare_queue(broker, queue, deadline)
            for binding in topology.bindings:
                await _bind(broker, binding, deadline)


async def _declare_exchange(broker: Broker, exchange: Exchange, deadline: float) -> None:
    name = f"exchange {exchange.name!r}"
    try:
        async with _throw_away_channel(broker, name, deadline) as channel:
            await channel.declare_exchange(exchange.name, exchange.kind, durable=True)
    except ChannelAccessRefused:
        with suppress(ChannelAccessRefused):
            async with _throw_away_channel(broker, name, deadline) as channel:
                await channel.get_exchange(exchange.name)


async def _declare_queue(broker: Broker, queue: Queue, deadline: float) -> None:
    name = f"queue {queue.name!r}"
    try:
        async with _throw_away_channel(broker, name, deadline) as channel:
            await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
    except ChannelAccessRefused:
        with suppress(ChannelAccessRefused):
            async with _throw_away_channel(broker, name, deadline) as channel:
                await channel.get_queue(queue.name)


async def _bind(broker: Broker, binding: Binding, deadline: float) -> None:
    name = f"binding of queue {binding.queue!r} to exchange {binding.exchange!r}"
    with suppress(ChannelAccessRefused):
        async with _throw_away_channel(broker, name, deadline) as channel:
            queue = await channel.get_queue(binding.queue, ensure=False)
            await queue.bind(binding.exchange, binding.routing_key)


@asynccontextmanager
async def _throw_away_channel(
    broker: Broker, name: str, deadline: float
) -> AsyncIterator[AbstractChannel]:
    """A channel for one declaration, since the broker closes it when it objects."""
    channel = await broker.consuming.channel(deadline)
    try:
        yield channel
    except ChannelPreconditionFailed as error:
        raise TopologyMismatchError(
            f"{name} is declared otherwise: {difference(str(error))}; that cannot be changed in "
            f"place: {REMEDY[name.partition(' ')[0]]}"
        ) from error
    except ChannelNotFoundEntity as error:
        raise MissingTopologyError(f"{name}: {error}") from error
    finally:
        # A node that could not answer the declaration may not answer this either.
        with suppress(BrokerUnavailableError), broker_faults():
            async with asyncio.timeout(CLOSE):
                await channel.close()
