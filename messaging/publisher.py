"""Publishing: mandatory, confirmed, within a deadline, many at once on one channel.

What waits is bounded (`messaging.backlog`). While the broker is away or takes no messages, those
who have a place wait for it until their own deadline, and all others are told at once.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from aio_pika.exceptions import ChannelClosed

from messaging.backlog import LIMIT, Backlog
from messaging.broker import Broker
from messaging.envelope import MAX_HEADERS, Envelope, size_of
from messaging.errors import (
    BacklogFullError,
    BrokerUnavailableError,
    CutOffError,
    LateError,
    MessagingError,
    NackedError,
    OversizedHeadersError,
    PublishForbiddenError,
    UnroutableError,
)
from messaging.link import broker_faults
from messaging.outlet import Outlet, RefusedError, ReturnedError
from messaging.publisher_telemetry import PublisherTelemetry

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
        self.telemetry = broker.telemetry
        """Where what is published from here tells of itself."""
        self._telemetry = PublisherTelemetry(broker.telemetry)

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
        [failure] = await self.publish_all([envelope], deadline=deadline)
        if failure is not None:
            raise failure

    async def publish_all(
        self, envelopes: Sequence[Envelope], *, deadline: float
    ) -> list[MessagingError | None]:
        """As `publish`, for many under one deadline: for each why it failed, or None."""
        sending = self._telemetry.sending(envelopes)
        try:
            failures = await self._publish_all(sending.envelopes, deadline)
            sending.ended(failures)
            return failures
        finally:
            sending.cut_short()

    async def _publish_all(
        self, envelopes: Sequence[Envelope], deadline: float
    ) -> list[MessagingError | None]:
        end = asyncio.get_running_loop().time() + deadline
        sizes: list[int] = []
        try:
            failures = [self._take_place(envelope, sizes) for envelope in envelopes]
            if not sizes:
                return failures
            try:
                outlet = await self._ready(end)
            except BrokerUnavailableError as error:
                return [failure or error for failure in failures]
            with self._using(outlet):
                await self._publish(outlet, envelopes, failures, end)
            return failures
        finally:
            for size in sizes:
                self._backlog.give_back(size)

    def _take_place(self, envelope: Envelope, sizes: list[int]) -> MessagingError | None:
        """A place in the backlog, added to `sizes`; or why there is none."""
        size = size_of(envelope.headers)
        if size > MAX_HEADERS:
            return OversizedHeadersError(f"{size} bytes of headers, more than {MAX_HEADERS}")
        size += len(envelope.body)
        try:
            self._backlog.take(size)
        except BacklogFullError as error:
            return error
        sizes.append(size)
        return None

    async def _publish(
        self,
        outlet: Outlet,
        envelopes: Sequence[Envelope],
        failures: list[MessagingError | None],
        end: float,
    ) -> None:
        """Send all that have not failed yet, and only then wait for the broker's answers."""
        answers: dict[int, asyncio.Future[None]] = {}
        now = self._clock()
        try:
            for place, envelope in enumerate(envelopes):
                if failures[place] is None and outlet.pressed:
                    failures[place] = await _result(_within(outlet.relieve(), end), envelope)
                if failures[place] is None and outlet.owed >= 2 * self._backlog.limit:
                    failures[place] = BacklogFullError(
                        f"the broker has left {outlet.owed} messages unconfirmed"
                    )
                if failures[place] is None:
                    answers[place] = outlet.send(envelope, client_id=self._client_id, now=now)
            late = asyncio.get_running_loop().call_at(end, _expire, answers)
            try:
                for place, answer in answers.items():
                    if not _confirmed(answer):
                        failures[place] = await _result(answer, envelopes[place])
                        if isinstance(failures[place], NackedError):
                            self._retire(outlet)
            finally:
                late.cancel()
        finally:
            for answer in answers.values():
                if not answer.cancel() and not answer.cancelled():
                    answer.exception()  # which nobody else may ask for

    async def _ready(self, end: float) -> Outlet:
        """A channel on a connection that takes messages.

        Raises:
            BrokerUnavailableError: none by then.
        """
        if not self._link.connected or self._link.blocked:
            await self._link.wait_until_unblocked(end - asyncio.get_running_loop().time())
        outlet = self._outlet
        if outlet is None or outlet.closed:
            outlet = await self._open(end)
        return outlet

    async def _open(self, end: float) -> Outlet:
        """The channel that all publish on; a new one where it was closed, or has said no."""
        with broker_faults():
            async with asyncio.timeout_at(end), self._opening:
                if self._outlet is None or self._outlet.closed:
                    left = end - asyncio.get_running_loop().time()
                    self._outlet = await self._link.outlet(left)
                return self._outlet

    def _retire(self, outlet: Outlet) -> None:
        """After a nack, give the channel to nobody any more; it is closed when nobody has it.

        On RabbitMQ 3.10, a channel that first publishes to a queue just as that queue's leader is
        lost goes on being nacked there; a new one is not. What is in flight on the old one may
        still be confirmed.
        """
        if self._outlet is outlet:
            self._outlet = None

    @contextmanager
    def _using(self, outlet: Outlet) -> Iterator[None]:
        self._users[outlet] += 1
        try:
            yield
        finally:
            self._users[outlet] -= 1
            if not self._users[outlet]:
                del self._users[outlet]
                if self._outlet is not outlet:
                    closing = asyncio.create_task(_close(outlet), name="close after a nack")
                    self._closing.add(closing)
                    closing.add_done_callback(self._closing.discard)


def _confirmed(answer: asyncio.Future[None]) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None


def _expire(answers: Mapping[int, asyncio.Future[None]]) -> None:
    """Their time is over: one timer for them all, as a timeout for each costs a tenth of all."""
    for answer in answers.values():
        if not answer.done():
            answer.set_exception(TimeoutError())


async def _within(waited_for: Awaitable[None], end: float) -> None:
    async with asyncio.timeout_at(end):
        await waited_for


async def _result(waited_for: Awaitable[None], envelope: Envelope) -> MessagingError | None:
    """Why this fails for an envelope, if it does."""
    try:
        with broker_faults(passing=_ANSWERS):
            await waited_for
    except (*_ANSWERS, BrokerUnavailableError) as error:
        failure = _failure(envelope, error)
        failure.__cause__ = error
        return failure
    return None


async def _close(outlet: Outlet) -> None:
    with suppress(BrokerUnavailableError), broker_faults():
        async with asyncio.timeout(CLOSE):
            await outlet.close()


def _failure(envelope: Envelope, error: Exception) -> MessagingError:
    match error:
        case ReturnedError():
            return UnroutableError(f"no queue takes {_name(envelope)}")
        case RefusedError():
            return NackedError(f"the broker refused to take {_name(envelope)}")
        case ChannelClosed():
            return _explain(envelope, error)
        case TimeoutError():
            return LateError(f"{_name(envelope)} was not confirmed in time")
        case _:
            return CutOffError(f"{_name(envelope)}: {getattr(error, 'detail', '')}")


def _explain(envelope: Envelope, error: ChannelClosed) -> MessagingError:
    """Tell the publish that closed the channel from those that were merely in flight on it.

    One error reaches them all; the broker's text names the exchange, and for a topic
    permission the routing key, of the one that is at fault.
    """
    text = str(error)
    exchange, key = envelope.route.exchange, envelope.route.routing_key
    if f"'{exchange}'" in text:
        if NOT_FOUND in text:
            return UnroutableError(f"there is no exchange for {_name(envelope)}")
        if ACCESS_REFUSED in text and (TOPIC not in text or f"{TOPIC} '{key}'" in text):
            return PublishForbiddenError(f"this login may not publish {_name(envelope)}: {text}")
    return CutOffError(f"{_name(envelope)}: the channel was closed: {text}")


def _name(envelope: Envelope) -> str:
    route = envelope.route
    return f"{route.type} to exchange {route.exchange!r}, routing key {route.routing_key!r}"
