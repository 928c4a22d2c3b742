"""A consumer that is registered again whenever its channel is lost."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from aio_pika.abc import AbstractChannel

from messaging.broker import Broker
from messaging.delivery import Delivery, Registration
from messaging.errors import BrokerUnavailableError
from messaging.link import broker_faults
from messaging.pause import Backoff, first_of
from messaging.topology import Exchange

STEP: Final = 10.0
"""Seconds that the broker may take over one step of registering or closing."""

CLOSE: Final = 3.0
"""Seconds for a step of closing; the broker takes back by itself what is not settled."""

T = TypeVar("T")

Source = Callable[[AbstractChannel], Awaitable[str]]
"""Gives the name of the queue to consume from, on a channel that was just opened."""

log = structlog.get_logger(__name__)


def shared_queue(name: str) -> Source:
    """A queue that exists already and that other replicas consume from too."""

    async def source(_: AbstractChannel) -> str:
        return name

    return source


def exclusive_queue(prefix: str, exchange: Exchange, routing_keys: Iterable[str] | None) -> Source:
    """A queue of this process alone, under a name that nobody can guess, gone with its channel.

    routing_keys: what it is bound to; None binds it to its own name.
    """
    keys = None if routing_keys is None else tuple(routing_keys)

    async def source(channel: AbstractChannel) -> str:
        name = f"{prefix}.{secrets.token_hex(16)}"
        queue = await channel.declare_queue(
            name, exclusive=True, auto_delete=True, arguments={"x-queue-type": "classic"}
        )
        for key in (name,) if keys is None else keys:
            await queue.bind(exchange.name, key)
        return name

    return source


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
    ) -> None:
        self._link = broker.consuming
        self._source = source
        self._prefetch = prefetch
        self._on_registered = on_registered
        self._on_lost = on_lost
        self._deliveries: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._registration: Registration | None = None
        self._registered = asyncio.Event()
        self._ended = False

    @property
    def ready(self) -> bool:
        """Whether the consumer is registered on a channel that lives."""
        return self.registration is not None

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
        backoff = Backoff()
        # A broker that is up again is consumed from at once: waiting for it costs no pause here.
        while await first_of(self._link.up, shutdown, timeout=None) and not shutdown.is_set():
            try:
                registration = await self._register()
            except BrokerUnavailableError as error:
                log.warning("consumer_not_registered", detail=error.detail)
                await backoff.pause(shutdown)
                continue
            backoff.reset()
            await first_of(registration.lost, shutdown, timeout=None)
            if registration.lost.is_set():
                log.warning("consumer_lost", queue=registration.queue)
                self._on_lost()
                with suppress(BrokerUnavailableError):
                    await _in_time(registration.close())
                # A queue that is being deleted makes the broker close the whole connection on
                # who comes back too soon.
                await backoff.pause(shutdown)
        self._ended = True
        self._deliveries.put_nowait(None)
        if self.registration is not None:
            with suppress(BrokerUnavailableError):
                await _in_time(self.registration.cancel())

    async def next(self) -> Delivery | None:
        """The next delivery that can still be settled, or None after `shutdown`."""
        while not self._ended:
            delivery = await self._deliveries.get()
            if delivery is not None and delivery.live and not self._ended:
                return delivery
        self._deliveries.put_nowait(None)  # for the next one who waits
        return None

    async def close(self) -> None:
        """Give back what is not settled, in the order in which it came, and close the channel."""
        registration = self.registration
        if registration is None:
            return
        with suppress(BrokerUnavailableError):
            await _in_time(_give_back(registration), CLOSE)
            await _in_time(registration.close(), CLOSE)

    async def _register(self) -> Registration:
        channel = await self._link.channel(STEP)
        try:
            registration = await _in_time(self._consume(channel))
        except BrokerUnavailableError:
            with suppress(BrokerUnavailableError):
                await _in_time(channel.close())
            raise
        self._registration = registration
        self._registered.set()
        self._on_registered()
        log.info("consumer_registered", queue=registration.queue)
        return registration

    async def _consume(self, channel: AbstractChannel) -> Registration:
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await self._source(channel)
        registration = Registration(channel, await channel.get_underlay_channel(), queue)
        await registration.consume(self._deliveries.put_nowait)
        return registration


async def _give_back(registration: Registration) -> None:
    for _, delivery in sorted(registration.unsettled.items()):
        await delivery.nack()


async def _in_time(step: Awaitable[T], seconds: float = STEP) -> T:
    with broker_faults():
        async with asyncio.timeout(seconds):
            return await step
