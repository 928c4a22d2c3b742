"""A consumer that is registered again whenever its channel is lost."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import FieldTable

from messaging.arrivals import Arrivals
from messaging.broker import Broker
from messaging.delivery import Delivery, Registration
from messaging.errors import BrokerUnavailableError
from messaging.link import broker_faults
from messaging.pause import Backoff, first_of
from messaging.taps import Taps
from messaging.topology import NO_LIMIT, QUORUM, Exchange

STEP: Final = 10.0
"""Seconds that the broker may take over one step of registering or closing."""

CLOSE: Final = 3.0
"""Seconds for a step of closing; the broker takes back by itself what is not settled."""

LEFTOVER: Final = 60.0
"""Seconds after which the broker deletes a queue that its process has left."""

DELETE: Final = 20.0
"""Seconds for the deletion of such a queue; one without a leader takes 5."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Where to consume from: `queue` gives its name, on a channel that was just opened.

    left_behind: whether the broker keeps the queue when its only process leaves.
    may_go: whether the queue may be deleted; that there is nothing to consume is in order then.
    """

    queue: Callable[[AbstractChannel], Awaitable[str]]
    left_behind: bool = False
    may_go: bool = False


log = structlog.get_logger(__name__)


def shared_queue(name: str, *, may_go: bool = False) -> Source:
    """A queue that exists already and that other replicas consume from too."""

    async def queue(_: AbstractChannel) -> str:
        return name

    return Source(queue, may_go=may_go)


def exclusive_queue(prefix: str, exchange: Exchange) -> Source:
    """A queue of this process alone, bound to its own name, which nobody can guess.

    It is gone with its connection, or with its node. RabbitMQ 4 keeps the name of one whose node
    is lost, and refuses (nacks) what is published to it, until that node is back: so only what is
    for this queue alone may be published to it.
    """

    async def declare(channel: AbstractChannel) -> str:
        name = _fresh_name(prefix)
        queue = await channel.declare_queue(
            name, exclusive=True, auto_delete=True, arguments={"x-queue-type": "classic"}
        )
        await queue.bind(exchange.name, name)
        return name

    return Source(declare)


def listening_queue(prefix: str, exchange: Exchange, routing_keys: Iterable[str]) -> Source:
    """A queue for this process of what is published to many.

    It is not lost with its node, so that whoever publishes has a confirm although a listener's
    node is lost. It is made anew, under another name, by each registration; one that is left is
    deleted, at the latest by the broker once nobody has listened to it for a while.
    """
    keys = tuple(routing_keys)
    arguments: FieldTable = {
        **QUORUM,
        "x-delivery-limit": NO_LIMIT,
        "x-expires": int(LEFTOVER * 1000),
    }

    async def declare(channel: AbstractChannel) -> str:
        name = _fresh_name(prefix)
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        for key in keys:
            await queue.bind(exchange.name, key)
        return name

    return Source(declare, left_behind=True)


def _fresh_name(prefix: str) -> str:
    return f"{prefix}.{secrets.token_hex(16)}"


class Subscription:
    """Deliveries of one queue, over every loss of the connection."""

    def __init__(
        self,
        broker: Broker,
        source: Source,
        *,
        prefetch: int,
        on_registered: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        arrivals: Arrivals | None = None,
    ) -> None:
        """`arrivals`: where those of other queues arrive too, which end when all of them do."""
        self._link = broker.consuming
        self._deleting = broker.publishing
        self._left: set[str] = set()
        """Queues that lost registrations have left behind."""
        self._source = source
        self._prefetch = prefetch
        self._on_registered = on_registered
        self._on_lost = on_lost
        self._arrivals = Arrivals() if arrivals is None else arrivals
        self._alone = arrivals is None
        self._registration: Registration | None = None
        self._registered = asyncio.Event()
        self._gone = False

    @property
    def ready(self) -> bool:
        """Whether the consumer is registered on a channel that lives; or its queue may be gone."""
        return self.registration is not None or self._gone

    @property
    def registration(self) -> Registration | None:
        """The present registration, None where it is lost or not yet made."""
        present = self._registration
        return None if present is None or present.lost.is_set() else present

    async def wait_until_ready(self, deadline: float) -> Registration:
        """The present registration, within `deadline` seconds.

        Raises:
            BrokerUnavailableError: there is none in that time.
        """
        with broker_faults():
            async with asyncio.timeout(deadline):
                while (present := self.registration) is None:
                    await self._registered.wait()
                    self._registered.clear()
                return present

    async def run(self, shutdown: asyncio.Event) -> None:
        """Keep the consumer registered until `shutdown`, then cancel it.

        What was delivered can still be settled until `close`.
        """
        async with asyncio.TaskGroup() as deletions:
            await self._keep_registered(shutdown, deletions)
        if self._alone:
            self._arrivals.end()
        if self.registration is not None:
            with suppress(BrokerUnavailableError):
                await _in_time(self.registration.cancel())

    async def _keep_registered(self, shutdown: asyncio.Event, deletions: asyncio.TaskGroup) -> None:
        backoff = Backoff()
        # A broker that is up again is consumed from at once: waiting for it costs no pause here.
        while await first_of(self._link.up, shutdown, timeout=None) and not shutdown.is_set():
            try:
                registration = await self._register()
            except BrokerUnavailableError as error:
                missing = isinstance(error.__cause__, ChannelNotFoundEntity)
                if not self._gone:
                    log.warning("consumer_not_registered", detail=error.detail)
                self._gone = self._source.may_go and missing
                await backoff.pause(shutdown)
                continue
            self._gone = False
            backoff.reset()
            deleting = deletions.create_task(self._delete_left())
            await first_of(registration.lost, shutdown, timeout=None)
            deleting.cancel()
            if registration.lost.is_set():
                log.warning("consumer_lost", queue=registration.queue)
                self._on_lost()
                if self._source.left_behind:
                    self._left.add(registration.queue)
                with suppress(BrokerUnavailableError):
                    await _in_time(registration.close())
                # A queue that is being deleted makes the broker close the whole connection on
                # who comes back too soon.
                await backoff.pause(shutdown)

    async def _delete_left(self) -> None:
        """Delete what was left behind, which the broker would keep for a while, or for ever.

        RabbitMQ 3.10 brings a queue that was made just before it was killed back without a leader,
        at times: such a one never expires, and holds up whoever publishes to it.
        """
        for queue in tuple(self._left):
            with suppress(BrokerUnavailableError):
                channel = await self._deleting.channel(DELETE)
                underlay = await channel.get_underlay_channel()
                await _in_time(underlay.queue_delete(queue), DELETE)
                self._left.discard(queue)
                log.info("left_queue_deleted", queue=queue)
                await _in_time(channel.close(), CLOSE)

    async def next(self) -> Delivery | None:
        """The next delivery that can still be settled, or None after `shutdown`."""
        return next(iter(await self.next_few(1)), None)

    async def next_few(self, limit: int) -> list[Delivery]:
        """The next deliveries that can still be settled, at most so many; none after `shutdown`.

        As many as are there, and at least one: it waits for that one only.
        """
        return await self._arrivals.next_few(limit)

    async def close(self) -> None:
        """Give back what is not settled, in the order in which it came, and close the channel."""
        registration = self.registration
        if registration is None:
            return
        with suppress(BrokerUnavailableError):
            await _in_time(_give_back(registration), CLOSE)
            if self._source.left_behind:
                await _in_time(registration.underlay.queue_delete(registration.queue), CLOSE)
            await _in_time(registration.close(), CLOSE)

    async def _register(self) -> Registration:
        channel, taps = await self._link.tapped_channel(STEP)
        try:
            registration = await _in_time(self._consume(channel, taps))
        except BrokerUnavailableError:
            with suppress(BrokerUnavailableError):
                await _in_time(channel.close())
            raise
        self._registration = registration
        self._registered.set()
        self._on_registered()
        log.info("consumer_registered", queue=registration.queue)
        return registration

    async def _consume(self, channel: AbstractChannel, taps: Taps) -> Registration:
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await self._source.queue(channel)
        underlay = await channel.get_underlay_channel()
        registration = Registration(channel, underlay, taps, queue)
        await registration.consume(self._arrivals.put)
        return registration


async def _give_back(registration: Registration) -> None:
    for _, delivery in sorted(registration.unsettled.items()):
        await delivery.nack()


async def _in_time(step: Awaitable[T], seconds: float = STEP) -> T:
    with broker_faults():
        async with asyncio.timeout(seconds):
            return await step
