"""Publishing: mandatory, confirmed, within a deadline, many at once on one channel.

What waits is bounded (`messaging.backlog`). While the broker is away or takes no messages, those
who have a place wait for it until their own deadline, and all others are told at once.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

from aio_pika.exceptions import ChannelClosed

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
from messaging.outlet import Outlet, RefusedError, ReturnedError

NOT_FOUND: Final = "NOT_FOUND"
ACCESS_REFUSED: Final = "ACCESS_REFUSED"
TOPIC: Final = "access to topic"

_ANSWERS: Final = (ReturnedError, RefusedError, ChannelClosed, TimeoutError)

CLOSE: Final = 3.0
"""Seconds to close a channel in."""


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
        self._outlet: Outlet | None = None
        """What the next publish goes to."""
        self._opening = asyncio.Lock()
        self._users: Counter[Outlet] = Counter()
        """How many publish on each at this moment."""
        self._closing: set[asyncio.Task[None]] = set()

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
            if not self._link.connected or self._link.blocked:
                await self._link.wait_until_unblocked(deadline)
            outlet = self._outlet
            if outlet is None or outlet.closed:
                outlet = await self._open(end)
            if outlet.owed >= 2 * self._backlog.limit:
                raise BacklogFullError(f"the broker has left {outlet.owed} messages unconfirmed")
            try:
                with self._using(outlet), broker_faults(passing=_ANSWERS):
                    async with asyncio.timeout_at(end):
                        await outlet.publish(envelope, client_id=self._client_id, now=self._clock())
            except ReturnedError as error:
                raise UnroutableError(f"no queue takes {_name(envelope)}") from error
            except RefusedError as error:
                raise NackedError(f"the broker refused to take {_name(envelope)}") from error
            except ChannelClosed as error:
                _explain(envelope, error)
            except TimeoutError as error:
                raise LateError(f"{_name(envelope)} was not confirmed in time") from error
            except BrokerUnavailableError as error:
                raise CutOffError(f"{_name(envelope)}: {error.detail}") from error

    async def _open(self, end: float) -> Outlet:
        """The channel that all publish on; a new one where it was closed, or has said no."""
        with broker_faults():
            async with asyncio.timeout_at(end), self._opening:
                if self._outlet is None or self._outlet.closed:
                    left = end - asyncio.get_running_loop().time()
                    self._outlet = await self._link.outlet(left)
                return self._outlet

    @contextmanager
    def _using(self, outlet: Outlet) -> Iterator[None]:
        """After a nack, give the channel to nobody any more, and close it when nobody has it.

        On RabbitMQ 3.10, a channel that first publishes to a queue just as that queue's leader is
        lost goes on being nacked there; a new one is not. What is in flight on the old one may
        still be confirmed.
        """
        self._users[outlet] += 1
        try:
            yield
        except RefusedError:
            if self._outlet is outlet:
                self._outlet = None
            raise
        finally:
            self._users[outlet] -= 1
            if not self._users[outlet]:
                del self._users[outlet]
                if self._outlet is not outlet:
                    closing = asyncio.create_task(_close(outlet), name="close after a nack")
                    self._closing.add(closing)
                    closing.add_done_callback(self._closing.discard)


async def _close(outlet: Outlet) -> None:
    with suppress(BrokerUnavailableError), broker_faults():
        async with asyncio.timeout(CLOSE):
            await outlet.close()


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
