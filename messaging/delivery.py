"""What arrives: a message, and the one channel on which it can be settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.abc import DeliveredMessage

from auth.errors import Code, RefusalError
from auth.message import UnverifiedMessage
from messaging.envelope import COPY_HEADERS

SETTLE: Final = 10.0
"""Seconds for an acknowledgement to leave; a connection that takes none is dead."""

log = structlog.get_logger(__name__)


class Registration:
    """A consumer on one channel. Once lost it never comes back; a new one takes its place."""

    def __init__(self, channel: AbstractChannel, underlay: UnderlayChannel, queue: str) -> None:
        self.queue = queue
        self.underlay = underlay
        self.unsettled: dict[int, Delivery] = {}
        """By delivery tag, which is in the order of arrival."""
        self.lost = asyncio.Event()
        """The channel is closed, or the broker has cancelled the consumer."""
        self._channel = channel
        self._consumer_tag = ""
        channel.close_callbacks.add(lambda *_: self.lost.set())
        underlay.on_consumer_cancel_callbacks.add(lambda _: self.lost.set())

    async def consume(self, enqueue: Callable[[Delivery], None]) -> None:
        """Ask for deliveries.

        The library cancels its callbacks when the connection drops: nothing but `enqueue`
        happens in them.
        """

        async def receive(message: DeliveredMessage) -> None:
            delivery = Delivery.of(message, self)
            self.unsettled[delivery.tag] = delivery
            enqueue(delivery)

        consumed = await self.underlay.basic_consume(self.queue, receive)
        self._consumer_tag = consumed.consumer_tag or ""

    async def cancel(self) -> None:
        """Ask for no more. What has come can still be settled."""
        if not self.lost.is_set():
            await self.underlay.basic_cancel(self._consumer_tag)

    async def close(self) -> None:
        """Close the channel; the broker takes back what is not settled."""
        self.lost.set()
        await self._channel.close()


@dataclass(slots=True, eq=False)
class Delivery:
    """A message as the broker handed it over. Nothing in it is believed."""

    body: bytes
    headers: Mapping[str, object]
    type: str | None
    content_type: str | None
    correlation_id: str | None
    reply_to: str | None
    redelivered: bool
    tag: int
    registration: Registration
    life: float | None = None
    """Seconds that its publisher gave it in the queue (`expiration`); None for ever."""
    arrived_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @classmethod
    def of(cls, message: DeliveredMessage, registration: Registration) -> Self:
        properties = message.header.properties
        return cls(
            body=message.body,
            headers=properties.headers or {},
            type=properties.message_type,
            content_type=properties.content_type,
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to,
            redelivered=bool(message.redelivered),
            tag=message.delivery_tag or 0,
            registration=registration,
            life=_seconds(properties.expiration),
        )

    @property
    def live(self) -> bool:
        """Whether it can still be settled; if not, the broker delivers it again."""
        return self.tag in self.registration.unsettled and not self.registration.lost.is_set()

    @property
    def returned(self) -> bool:
        """Whether it comes out of a retry queue. A hint: anyone can forge the header."""
        return "x-death" in self.headers

    @property
    def waited(self) -> float:
        """Seconds since it arrived here."""
        return asyncio.get_running_loop().time() - self.arrived_at

    def unverified(self) -> UnverifiedMessage:
        """The part that the verifier judges.

        Raises:
            RefusalError: `forbidden_header`: a `CC` or `BCC` that delivers copies elsewhere.
        """
        if any(name.lower() in COPY_HEADERS for name in self.headers):
            raise RefusalError(Code.FORBIDDEN_HEADER, "CC and BCC are not allowed")
        return UnverifiedMessage(
            body=self.body, headers=self.headers, type=self.type, reply_to=self.reply_to
        )

    async def ack(self) -> None:
        """It is done with. Does nothing once the channel is lost."""
        await self._settle(partial(self.registration.underlay.basic_ack, wait=False))

    async def nack(self) -> None:
        """Give it back to the queue. Does nothing once the channel is lost."""
        await self._settle(partial(self.registration.underlay.basic_nack, wait=False))

    async def _settle(self, send: Callable[[int], Awaitable[None]]) -> None:
        if not self.live:
            return
        del self.registration.unsettled[self.tag]
        try:
            # Not until the connection has taken it: each would be a step of the loop's. As much as
            # was prefetched waits to be written, at most.
            async with asyncio.timeout(SETTLE):
                await send(self.tag)
        except (TimeoutError, *CONNECTION_EXCEPTIONS) as error:
            # The broker delivers it again; what was done is remembered in the inbox.
            self.registration.lost.set()
            log.info("settlement_lost", tag=self.tag, detail=str(error))


def _seconds(expiration: str | None) -> float | None:
    """AMQP's `expiration`: milliseconds, as text; the broker lets nothing else pass."""
    return int(expiration) / 1000 if expiration and expiration.isdecimal() else None
