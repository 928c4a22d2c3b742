"""Journeys: who watches which messages, and the reports on their way to them.

Who watches opens a stream, and is told its name: 128 random bits that nobody else learns. The
messages that they mark with it are reported on to it, through whichever gateway they were sent. A
gateway hands on what is for its own streams, and drops all else; and of what is somebody's
message, only the stream's own user is told.
"""

import asyncio
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from fastapi.sse import ServerSentEvent

from auth.claims import service_subject
from auth.message import VerifiedMessage
from auth.statements import Revocation
from auth.tokens import AccessClaims
from messaging.journeys import RATE, Mark
from services.contracts.journeys import MessageJourney
from services.contracts.topology import ORDER_SERVICE
from services.gateway.dependents import Dependents
from services.gateway.live import EndReason, LiveEvent, Subscription, TooManyStreamsError
from services.gateway.standing import StandingStream

HEADER: Final = "Carnet-Journey"
"""What a client asks with: `stream.message`."""

FORM: Final = r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{1,36}"
SOUND: Final = re.compile(FORM)

MAX_STREAMS: Final = 5
"""Open streams of one user at one gateway."""
MAX_MARKED: Final = RATE // 2
"""Messages that one user may mark in a second; the order service reports on `RATE` of all."""
MAX_QUEUED: Final = 64
"""Reports that wait for one client before it counts as too slow."""
RETRY: Final = 2.0
"""Seconds until the token is looked at again while nothing can be judged."""

_RANDOM_BYTES: Final = 16


@dataclass(slots=True)
class Marks:
    """Which messages are marked: so many of one user's that others have reports left."""

    _second: int = 0
    _marked: Counter[str] = field(default_factory=Counter)

    def of(self, asked: str | None, *, subject: str, now: float) -> Mark | None:
        """The mark that a client's header asks for; None where it asks for none or for too many."""
        if asked is None or SOUND.fullmatch(asked) is None:
            return None
        if int(now) != self._second:
            self._second = int(now)
            self._marked.clear()
        self._marked[subject] += 1
        if self._marked[subject] > MAX_MARKED:
            return None
        stream, _, message = asked.partition(".")
        return Mark(stream, message, int(now * 1000))


@dataclass(eq=False, slots=True)
class _Watch:
    """One who waits for reports, by the user whose messages they may be about."""

    subject: str
    take: Callable[[MessageJourney], None]


@dataclass(frozen=True, slots=True)
class Expected:
    """A report that is waited for: its stream, and the report once it is there."""

    stream: str
    report: "asyncio.Future[MessageJourney]"


@dataclass(slots=True)
class JourneyHub:
    """Who watches at this gateway. All of it happens on one event loop."""

    _watches: dict[str, _Watch] = field(default_factory=dict)
    _streams: Dependents[Subscription] = field(default_factory=Dependents)
    _closed: bool = False

    async def show(self, event: MessageJourney, message: VerifiedMessage) -> None:
        """Hand a report to the one that it is for, if that is here."""
        watch = self._watches.get(message.seal.cause or "")
        if watch is None:
            return
        # Of a message that is somebody's, its own user alone is told; of a forged one, which is
        # nobody's, whoever has marked it.
        if message.seal.sub in {watch.subject, service_subject(ORDER_SERVICE)}:
            watch.take(event)

    @contextmanager
    def subscribe(self, claims: AccessClaims) -> Iterator[tuple[str, Subscription]]:
        """A new stream, by its name, for as long as the context lasts.

        Raises:
            TooManyStreamsError: the subject has enough of them.
        """
        if len(self._streams.of_subject(claims.sub)) >= MAX_STREAMS:
            raise TooManyStreamsError
        subscription = Subscription(MAX_QUEUED)
        if self._closed:
            subscription.end(EndReason.SHUTDOWN)

        def take(event: MessageJourney) -> None:
            subscription.offer(LiveEvent(0, event.route.type, event.to_body().decode()))

        self._streams.add(subscription, claims)
        try:
            with self._watched(_Watch(claims.sub, take)) as stream:
                yield stream, subscription
        finally:
            self._streams.discard(subscription)

    @contextmanager
    def expect(self, subject: str) -> Iterator[Expected]:
        """One report, for as long as the context lasts. No revocation ends it."""
        report: asyncio.Future[MessageJourney] = asyncio.get_running_loop().create_future()

        def take(event: MessageJourney) -> None:
            if not report.done():
                report.set_result(event)

        with self._watched(_Watch(subject, take)) as stream:
            yield Expected(stream, report)

    def end(self, revoked: Revocation) -> None:
        """End the streams whose access token is revoked."""
        for subscription in self._streams.hit_by(revoked):
            subscription.end(EndReason.SESSION_ENDED)

    def close(self) -> None:
        """End every stream, and each that is opened from now on."""
        self._closed = True
        for subscription in self._streams:
            subscription.end(EndReason.SHUTDOWN)

    @contextmanager
    def _watched(self, watch: _Watch) -> Iterator[str]:
        stream = secrets.token_urlsafe(_RANDOM_BYTES)
        self._watches[stream] = watch
        try:
            yield stream
        finally:
            del self._watches[stream]


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyStream(StandingStream):
    """One stream of reports, and its name."""

    name: str

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """What to send: the stream's name, then each report, until the token or we end it."""
        yield ServerSentEvent(event="journey", raw_data=json.dumps({"stream": self.name}))
        while (reason := self._end()) is None:
            if not self._trusted():
                if self.subscription.ended is None:
                    yield ServerSentEvent(comment="waiting for the trust feed")
                    await self.subscription.pause(min(RETRY, self._left()))
                continue
            report = await self.subscription.wait(min(self.heartbeat, self._left()))
            if report is None:
                yield ServerSentEvent(comment="alive")
            elif self._trusted():
                yield ServerSentEvent(event=report.type, raw_data=report.body)
        yield ServerSentEvent(event="end", raw_data=json.dumps({"reason": reason}))
