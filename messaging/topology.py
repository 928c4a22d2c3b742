"""Exchanges, queues and bindings as data, and how they come to be on the broker."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeVar

from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue
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
from messaging.sharding import MAX_SHARDS, SHARD

T = TypeVar("T")
ExchangeKind = Literal["topic", "direct", "fanout", "headers"]

DestinationKind = Literal["queue", "exchange"]

MATCH: Final = "x-match"
"""Argument of a binding to an exchange of headers: that all of them are wanted."""

CLOSE: Final = 3.0
"""Seconds for the broker to close a channel."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange. What no binding of its takes goes on to the `alternate` one."""

    name: str
    kind: ExchangeKind
    alternate: str | None = None

    @property
    def arguments(self) -> dict[str, str]:
        return {} if self.alternate is None else {"alternate-exchange": self.alternate}


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue with its `x-` arguments."""

    name: str
    arguments: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """What `exchange` receives under `routing_key` goes to `destination`.

    headers: that a message must have, where the exchange is one of headers.
    """

    destination: str
    exchange: str
    routing_key: str
    kind: DestinationKind = "queue"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, str]:
        return {MATCH: "all", **self.headers} if self.headers else {}


@dataclass(frozen=True, slots=True)
class Topology:
    """A set of broker objects. The sum of two holds each object once.

    gone: bindings of a queue that had another number of shards. They must not be there.
    """

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()
    gone: tuple[Binding, ...] = ()

    def __add__(self, other: "Topology") -> "Topology":
        return Topology(
            _once(self.exchanges + other.exchanges),
            _once(self.queues + other.queues),
            _once(self.bindings + other.bindings),
            _once(self.gone + other.gone),
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

    With more than one shard, what would go to the queue goes on by its header `carnet-shard` to
    one of the queues `name.0`, `name.1` and so on. The queue itself takes what names none of
    them. All share its retry queues, from which each message returns to its own shard, and its
    dead letters.
    """

    name: str
    shards: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= MAX_SHARDS:
            raise ValueError(f"{self.name}: {self.shards} shards; there can be 1 to {MAX_SHARDS}")

    @property
    def sharded(self) -> bool:
        return self.shards > 1

    def shard(self, number: int) -> str:
        """Name of the queue of one shard."""
        return f"{self.name}.{number}"

    @property
    def consumed(self) -> tuple[str, ...]:
        """The queues that somebody must consume from."""
        numbers = range(self.shards) if self.sharded else ()
        return (self.name, *map(self.shard, numbers))

    def consumed_by(self, shards: Sequence[int]) -> tuple[str, ...]:
        """Those that a replica consumes from which is to have these shards; all, if none.

        What names no shard is for all replicas.
        """
        return (self.name, *map(self.shard, shards)) if shards else self.consumed

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

    def exchanges(self) -> tuple[Exchange, ...]:
        """Those that find the shard of a message."""
        if not self.sharded:
            return ()
        return (self._unsharded, Exchange(self._by_shard, "headers", self._unsharded.name))

    def queues(self) -> tuple[Queue, ...]:
        """The work queue, its dead letters, its retry queues, its shards."""
        work = {**QUORUM, "x-delivery-limit": DELIVERY_LIMIT, **_moved_to(DEAD, self.dead)}
        return (
            Queue(self.name, work),
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
            *(Queue(name, work) for name in self.consumed[1:]),
        )

    def bindings(self) -> tuple[Binding, ...]:
        """All but the bindings to the routing keys that the queue serves."""
        return (
            Binding(self.dead, DEAD.name, self.dead),
            *self.serving(RETRY, self.name),
            *(Binding(retry.name, RETRY.name, retry.name) for retry in self.retries),
            *(
                (
                    Binding(self.name, self._unsharded.name, ""),
                    *(self._to_shard(number) for number in range(self.shards)),
                )
                if self.sharded
                else ()
            ),
        )

    def serving(self, exchange: Exchange, *routing_keys: str) -> tuple[Binding, ...]:
        """Bindings by which what is published under these keys gets here."""
        return self._serving(exchange, routing_keys, sharded=self.sharded)

    def gone(self, exchange: Exchange, *routing_keys: str) -> tuple[Binding, ...]:
        """Bindings that would serve these keys if there were another number of shards."""
        unused = range(self.shards if self.sharded else 0, MAX_SHARDS)
        return (
            *self._serving(exchange, routing_keys, sharded=not self.sharded),
            *self._serving(RETRY, (self.name,), sharded=not self.sharded),
            *(self._to_shard(number) for number in unused if self.sharded),
        )

    @property
    def _by_shard(self) -> str:
        return f"{self.name}.shards"

    @property
    def _unsharded(self) -> Exchange:
        return Exchange(f"{self.name}.unsharded", "fanout")

    def _serving(
        self, exchange: Exchange, routing_keys: Iterable[str], *, sharded: bool
    ) -> tuple[Binding, ...]:
        if sharded:
            return tuple(
                Binding(self._by_shard, exchange.name, key, "exchange") for key in routing_keys
            )
        return tuple(Binding(self.name, exchange.name, key) for key in routing_keys)

    def _to_shard(self, number: int) -> Binding:
        headers = {SHARD: str(number)}
        return Binding(self.shard(number), self._by_shard, "", headers=headers)


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

    Bindings that must be gone are removed. Declaring what exists changes nothing. Where this
    login may not declare, the object must exist already. What it may not even look at (bindings;
    on RabbitMQ 4.3 also exchanges and queues to which it has no right at all) is left to the
    broker's definitions.

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
            # Last: until then what is sent arrives twice, and never not at all.
            if topology.gone:
                await _unbind(broker, topology.gone, deadline)


async def _declare_exchange(broker: Broker, exchange: Exchange, deadline: float) -> None:
    name = f"exchange {exchange.name!r}"
    try:
        async with _throw_away_channel(broker, name, deadline) as channel:
            await channel.declare_exchange(
                exchange.name, exchange.kind, durable=True, arguments=dict(exchange.arguments)
            )
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
    name = f"binding of {binding.kind} {binding.destination!r} to exchange {binding.exchange!r}"
    with suppress(ChannelAccessRefused):
        async with _throw_away_channel(broker, name, deadline) as channel:
            destination = await _destination(channel, binding)
            await destination.bind(
                binding.exchange, binding.routing_key, arguments=dict(binding.arguments)
            )


async def _unbind(broker: Broker, bindings: Iterable[Binding], deadline: float) -> None:
    """Remove these, as far as this login may; what is not there is no error."""
    with suppress(ChannelAccessRefused):
        async with _throw_away_channel(broker, "binding", deadline) as channel:
            for binding in bindings:
                destination = await _destination(channel, binding)
                await destination.unbind(
                    binding.exchange, binding.routing_key, arguments=dict(binding.arguments)
                )


async def _destination(
    channel: AbstractChannel, binding: Binding
) -> AbstractQueue | AbstractExchange:
    if binding.kind == "exchange":
        return await channel.get_exchange(binding.destination, ensure=False)
    return await channel.get_queue(binding.destination, ensure=False)


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
