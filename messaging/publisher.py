"""Publishing: mandatory, confirmed, within a deadline, many at once on one channel.

What waits is bounded (`messaging.backlog`). While the broker is away or takes no messages, those
who have a place wait for it until their own deadline, and all others are told at once.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn, cast

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import (
    ChannelClosed,
    DeliveryError,
)
from aio_pika.exceptions import (
    PublishError as ReturnedError,
)
from aiormq import Channel as UnderlayChannel

from messaging.backlog import LIMIT, Backlog
from messaging.broker import Broker
from messaging.envelope import MAX_HEADERS, Envelope, size_of
from messaging.errors import (
    BacklogFullError,
    BrokerUnavailableError,
    CutOffError,
    LateError,
    NackedError,
    OversizedHeadersError,
    PublishForbiddenError,
    UnroutableError,
)
from messaging.link import broker_faults

UNDRAINED: Final = 64 * 1024
"""Bytes that are written before one publish waits until the connection has taken them. If each
waited, each would be a step of the loop's and a packet of its own."""

NOT_FOUND: Final = "NOT_FOUND"
ACCESS_REFUSED: Final = "ACCESS_REFUSED"
TOPIC: Final = "access to topic"

CLOSE: Final = 3.0
"""Seconds to close a channel in."""


@dataclass
class _Outlet:
    """A channel, and how many publish on it at this moment."""

    channel: AbstractChannel
    underlay: UnderlayChannel
    users: int = 0


class Publisher:
    """Publishes envelopes in one client's name; share one per process."""

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        clock: Callable[[], float] = time.time,
        limit: int = LIMIT,
    ) -> None:
        """`limit`: messages under way at once; more are refused at once."""
        self._link = broker.publishing
        self._client_id = client_id
        self._clock = clock
        self._backlog = Backlog(limit)
        self._outlet: _Outlet | None = None
        """What the next publish goes to."""
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._undrained = 0

    async def publish(self, envelope: Envelope, *, deadline: float) -> None:
        """Return once the broker has taken the message over; at most `deadline` seconds.

        Raises:
            OversizedHeadersError: more than 16 KiB of headers; nothing was sent.
            BacklogFullError: as much as we hold waits already; nothing was sent. At once.
            UnroutableError: no queue or no exchange takes it; it is stored nowhere.
            PublishForbiddenError: this login may not publish there.
            NackedError, LateError, CutOffError: it may have arrived, or may arrive yet.
            BrokerBlockedError: the broker took nothing within the deadline; nothing was sent.
            BrokerUnavailableError: no connection within the deadline; nothing was sent.
        """
        size = size_of(envelope.headers)
        if size > MAX_HEADERS:
            raise OversizedHeadersError(f"{size} bytes of headers, more than {MAX_HEADERS}")
        end = asyncio.get_running_loop().time() + deadline
        with self._backlog.place(size + len(envelope.body)):
            await self._link.wait_until_unblocked(deadline)
            outlet = await self._open(end)
            try:
                with self._using(outlet):
                    drains = self._drains(size, envelope)
                    await self._send(outlet.underlay, envelope, end, drains=drains)
            except ReturnedError as error:
                raise UnroutableError(f"no queue takes {_name(envelope)}") from error
            except DeliveryError as error:
                raise NackedError(f"the broker refused to take {_name(envelope)}") from error
            except ChannelClosed as error:
                _explain(envelope, error)
            except TimeoutError as error:
                raise LateError(f"{_name(envelope)} was not confirmed in time") from error
            except BrokerUnavailableError as error:
                raise CutOffError(f"{_name(envelope)}: {error.detail}") from error

    async def _open(self, end: float) -> _Outlet:
        """The channel that all publish on; a new one where it was closed, or has said no.

        Raises:
            BacklogFullError: the broker owes us the confirms of too many that gave up waiting.
        """
        with broker_faults():
            async with asyncio.timeout_at(end), self._opening:
                outlet = self._outlet
                if outlet is None or outlet.channel.is_closed:
                    left = end - asyncio.get_running_loop().time()
                    channel = await self._link.channel(left, on_return_raises=True)
                    underlay = cast("UnderlayChannel", await channel.get_underlay_channel())
                    outlet = self._outlet = _Outlet(channel, underlay)
        owed = len(outlet.underlay.confirmations)
        if owed >= 2 * self._backlog.limit:
            raise BacklogFullError(f"the broker has left {owed} messages unconfirmed")
        return outlet

    @contextmanager
    def _using(self, outlet: _Outlet) -> Iterator[None]:
        """After a nack, give the channel to nobody any more, and close it when nobody has it.

        On RabbitMQ 3.10, a channel that first publishes to a queue just as that queue's leader is
        lost goes on being nacked there; a new one is not. What is in flight on the old one may
        still be confirmed.
        """
        outlet.users += 1
        try:
            yield
        except ReturnedError:
            raise  # a kind of DeliveryError, and no fault of the channel's
        except DeliveryError:
            if self._outlet is outlet:
                self._outlet = None
            raise
        finally:
            outlet.users -= 1
            if not outlet.users and self._outlet is not outlet:
                closing = asyncio.create_task(_close(outlet.channel), name="close after a nack")
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def _drains(self, size: int, envelope: Envelope) -> bool:
        """Whether this publish waits for the connection. Those after it then wait behind it."""
        self._undrained += size + len(envelope.body)
        if self._undrained < UNDRAINED:
            return False
        self._undrained = 0
        return True

    async def _send(
        self, channel: UnderlayChannel, envelope: Envelope, end: float, *, drains: bool
    ) -> None:
        message = Message(
            envelope.body,
            headers=dict(envelope.headers),
            content_type=envelope.content_type,
            delivery_mode=(
                DeliveryMode.PERSISTENT if envelope.persistent else DeliveryMode.NOT_PERSISTENT
            ),
            correlation_id=envelope.correlation_id,
            reply_to=envelope.reply_to,
            expiration=envelope.expiration,
            # Fresh for each attempt: the client library matches returned messages by it.
            message_id=str(uuid.uuid4()),
            timestamp=self._clock(),
            type=envelope.route.type,
            app_id=self._client_id,
        )
        with broker_faults(passing=(DeliveryError, ChannelClosed, TimeoutError)):
            await channel.basic_publish(
                message.body,
                exchange=envelope.route.exchange,
                routing_key=envelope.route.routing_key,
                properties=message.properties,
                mandatory=True,
                wait=drains,
                timeout=end - asyncio.get_running_loop().time(),
            )


async def _close(channel: AbstractChannel) -> None:
    with suppress(BrokerUnavailableError), broker_faults():
        async with asyncio.timeout(CLOSE):
            await channel.close()


def _explain(envelope: Envelope, error: ChannelClosed) -> NoReturn:
    """Tell the publish that closed the channel from those that were merely in flight on it.

    One error reaches them all; the broker's text names the exchange, and for a topic
    permission the routing key, of the one that is at fault.
    """
    text = str(error)
    exchange, key = envelope.route.exchange, envelope.route.routing_key
    if f"'{exchange}'" in text:
        if NOT_FOUND in text:
            raise UnroutableError(f"there is no exchange for {_name(envelope)}") from error
        if ACCESS_REFUSED in text and (TOPIC not in text or f"{TOPIC} '{key}'" in text):
            raise PublishForbiddenError(
                f"this login may not publish {_name(envelope)}: {text}"
            ) from error
    raise CutOffError(f"{_name(envelope)}: the channel was closed: {text}") from error


def _name(envelope: Envelope) -> str:
    route = envelope.route
    return f"{route.type} to exchange {route.exchange!r}, routing key {route.routing_key!r}"
