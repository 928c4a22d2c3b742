"""Publishing: mandatory, confirmed, within a deadline, many at once on one channel."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Final, NoReturn

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import (
    ChannelClosed,
    DeliveryError,
)
from aio_pika.exceptions import (
    PublishError as ReturnedError,
)

from messaging.broker import Broker
from messaging.envelope import MAX_HEADERS, Envelope, size_of
from messaging.errors import (
    BrokerUnavailableError,
    OversizedHeadersError,
    PublishForbiddenError,
    UnconfirmedError,
    UnroutableError,
)
from messaging.link import broker_faults

NOT_FOUND: Final = "NOT_FOUND"
ACCESS_REFUSED: Final = "ACCESS_REFUSED"
TOPIC: Final = "access to topic"


class Publisher:
    """Publishes envelopes in one client's name; share one per process."""

    def __init__(
        self, broker: Broker, *, client_id: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._link = broker.publishing
        self._client_id = client_id
        self._clock = clock
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def publish(self, envelope: Envelope, *, deadline: float) -> None:
        """Return once the broker has taken the message over; at most `deadline` seconds.

        Raises:
            OversizedHeadersError: more than 16 KiB of headers; nothing was sent.
            UnroutableError: no queue or no exchange takes it; it is stored nowhere.
            PublishForbiddenError: this login may not publish there.
            UnconfirmedError: refused, late or cut off: it may have arrived, or may arrive yet.
            BrokerUnavailableError: no connection within the deadline; nothing was sent.
        """
        size = size_of(envelope.headers)
        if size > MAX_HEADERS:
            raise OversizedHeadersError(f"{size} bytes of headers, more than {MAX_HEADERS}")
        end = asyncio.get_running_loop().time() + deadline
        channel = await self._open(deadline)
        try:
            await self._send(channel, envelope, end - asyncio.get_running_loop().time())
        except ReturnedError as error:
            raise UnroutableError(f"no queue takes {_name(envelope)}") from error
        except DeliveryError as error:
            raise UnconfirmedError(f"the broker refused to take {_name(envelope)}") from error
        except ChannelClosed as error:
            _explain(envelope, error)
        except BrokerUnavailableError as error:
            raise UnconfirmedError(f"{_name(envelope)}: {error.detail}") from error

    async def _open(self, deadline: float) -> AbstractChannel:
        """The channel that all publish on; a new one after the old one was closed."""
        with broker_faults():
            async with asyncio.timeout(deadline), self._opening:
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._link.channel(deadline, on_return_raises=True)
                return self._channel

    async def _send(self, channel: AbstractChannel, envelope: Envelope, deadline: float) -> None:
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
        with broker_faults(passing=(DeliveryError, ChannelClosed)):
            underlay = await channel.get_underlay_channel()
            await underlay.basic_publish(
                message.body,
                exchange=envelope.route.exchange,
                routing_key=envelope.route.routing_key,
                properties=message.properties,
                mandatory=True,
                timeout=deadline,
            )


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
    raise UnconfirmedError(f"{_name(envelope)}: the channel was closed: {text}") from error


def _name(envelope: Envelope) -> str:
    route = envelope.route
    return f"{route.type} to exchange {route.exchange!r}, routing key {route.routing_key!r}"
