"""What arrives: a message, and the one channel on which it can be settled."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Final, Self

import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.abc import AbstractChannel as UnderlayChannel

from auth.errors import Code, RefusalError
from auth.message import UnverifiedMessage
from messaging.envelope import COPY_HEADERS, trace_of
from messaging.taps import Tapped, Taps
from messaging.tracing import NO_SPAN, Span

SETTLE: Final = 10.0
"""Seconds for an acknowledgement to leave; a connection that takes none is dead."""

log = structlog.get_logger(__name__)


class Registration:
    """A consumer on one channel. Once lost it never comes back; a new one takes its place."""

    def __init__(
        self, channel: AbstractChannel, underlay: UnderlayChannel, taps: Taps, queue: str
    ) -> None:
        """`taps`: of the connection that the channel is on."""
        self.queue = queue
        self.underlay = underlay
        self.unsettled: dict[int, Delivery] = {}
        """By delivery tag, which is in the order of arrival."""
        self.lost = asyncio.Event()
        """The channel is closed, or the broker has cancelled the consumer."""
        self._channel = channel
        self._taps = taps
        self._consumer_tag = f"carnet.{secrets.token_hex(16)}"
        self._outstanding: dict[int, None] = {}
        """Tags that the broker may not know to be settled, in ascending order."""
        channel.close_callbacks.add(lambda *_: self._lose())
        underlay.on_consumer_cancel_callbacks.add(lambda _: self._lose())

    async def consume(self, enqueue: Callable[[Delivery], None]) -> None:
        """Ask for deliveries. Nothing but `enqueue` happens while the connection is read."""

        def receive(tapped: Tapped) -> None:
            delivery = Delivery.of(tapped, self)
            self.unsettled[delivery.tag] = delivery
            self._outstanding[delivery.tag] = None
            enqueue(delivery)

        self._taps.open(self._consumer_tag, receive)
        await self.underlay.basic_consume(
            self.queue, _come_too_late, consumer_tag=self._consumer_tag
        )

    async def cancel(self) -> None:
        """Ask for no more. What has come can still be settled."""
        if not self.lost.is_set():
            await self.underlay.basic_cancel(self._consumer_tag)

    async def close(self) -> None:
        """Close the channel; the broker takes back what is not settled."""
        self._lose()
        await self._channel.close()

    async def ack(self, deliveries: Iterable[Delivery]) -> None:
        """These are done with; as many as have nobody before them in one go.

        Does nothing for those that are settled, nor once the channel is lost.
        """
        tags = self._take(deliveries)
        prefix = list(takewhile(tags.__contains__, self._outstanding))
        ack = partial(self.underlay.basic_ack, wait=False)
        if prefix:
            await self._send(partial(ack, prefix[-1], multiple=True), prefix)
        for tag in sorted(tags.difference(prefix)):
            await self._send(partial(ack, tag), [tag])

    async def nack(self, delivery: Delivery) -> None:
        """Give one back to the queue; as `ack` otherwise."""
        for tag in self._take([delivery]):
            await self._send(partial(self.underlay.basic_nack, tag, wait=False), [tag])

    def _take(self, deliveries: Iterable[Delivery]) -> set[int]:
        """The tags of those that can be settled; nobody else settles them now."""
        tags = {delivery.tag for delivery in deliveries if delivery.live}
        for tag in tags:
            del self.unsettled[tag]
        return tags

    async def _send(self, settle: Callable[[], Awaitable[None]], tags: Iterable[int]) -> None:
        try:
            # Not until the connection has taken it: each would be a step of the loop's. As much as
            # was prefetched waits to be written, at most.
            async with asyncio.timeout(SETTLE):
                await settle()
        except (TimeoutError, *CONNECTION_EXCEPTIONS) as error:
            # The broker delivers it again; what was done is remembered in the inbox.
            self._lose()
            log.info("settlement_lost", tags=list(tags), detail=str(error))
            return
        # Only now: until it is on its way, nobody may settle all up to a later one.
        for tag in tags:
            del self._outstanding[tag]

    def _lose(self) -> None:
        self.lost.set()
        self._taps.close(self._consumer_tag)


async def _come_too_late(_: object) -> None:
    """What arrives after the tap was closed: its channel is lost."""


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
    arrived_at: float = field(default_factory=time.monotonic)
    opened_at: float = 0.0
    """When its verification began, in seconds since the epoch."""
    opened_in: float = 0.0
    """Seconds that the first part of that took."""
    span: Span = NO_SPAN
    """Of what is done about it, where anybody traces."""
    _unverified: UnverifiedMessage | None = None

    @classmethod
    def of(cls, tapped: Tapped, registration: Registration) -> Self:
        properties = tapped.properties
        return cls(
            body=tapped.body,
            headers=properties.headers or {},
            type=properties.message_type,
            content_type=properties.content_type,
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to,
            redelivered=tapped.redelivered,
            tag=tapped.tag,
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
        return time.monotonic() - self.arrived_at

    @property
    def trace(self) -> dict[str, str]:
        """The headers of what comes of it: of its own step, or else of the trace it came with."""
        return self.span.headers or trace_of(self.headers)

    def unverified(self) -> UnverifiedMessage:
        """The part that the verifier judges.

        Raises:
            RefusalError: `forbidden_header`: a `CC` or `BCC` that delivers copies elsewhere.
        """
        if self._unverified is None:
            unverified = UnverifiedMessage(
                body=self.body, headers=self.headers, type=self.type, reply_to=self.reply_to
            )
            if not COPY_HEADERS.isdisjoint(unverified.named):
                raise RefusalError(Code.FORBIDDEN_HEADER, "CC and BCC are not allowed")
            self._unverified = unverified
        return self._unverified

    async def ack(self) -> None:
        """It is done with. Does nothing once the channel is lost."""
        await self.registration.ack([self])

    async def nack(self) -> None:
        """Give it back to the queue. Does nothing once the channel is lost."""
        await self.registration.nack(self)


def _seconds(expiration: str | None) -> float | None:
    """AMQP's `expiration`: milliseconds, as text; the broker lets nothing else pass."""
    return int(expiration) / 1000 if expiration and expiration.isdecimal() else None
