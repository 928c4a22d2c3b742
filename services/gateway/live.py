"""Live events: the hub that hands each user's order events to that user's open streams."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from auth.statements import Revocation
from auth.tokens import AccessClaims
from services.gateway.dependents import Dependents

MAX_QUEUED: Final = 256
"""Events that wait for one client before it counts as too slow."""
MAX_STREAMS: Final = 20
"""Open streams of one user at one gateway."""


class EndReason(StrEnum):
    """Why a stream ends: the last thing that it says."""

    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a reason, no secret
    SESSION_ENDED = "session_ended"
    SLOW_CLIENT = "slow_client"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """An order event on its way to a client: its place in the user's sequence, type, JSON."""

    sequence: int
    type: str
    body: str


class TooManyStreamsError(Exception):
    """The user has as many open streams here as one may have."""


class Subscription:
    """What one stream receives. Bounded: a client that does not read is let go."""

    def __init__(self, capacity: int) -> None:
        self.ended: EndReason | None = None
        self._capacity = capacity
        self._events: deque[LiveEvent] = deque()
        self._missed = False
        self._changed = asyncio.Event()

    async def wait(self, within: float) -> LiveEvent | None:
        """The next event; None when it ended, has missed something, or `within` has passed."""
        if not self._events and self.ended is None and not self._missed:
            try:
                async with asyncio.timeout(within):
                    await self._changed.wait()
            except TimeoutError:
                return None
        self._changed.clear()
        return self._events.popleft() if self._events and self.ended is None else None

    async def pause(self, seconds: float) -> None:
        """Wait out `seconds`, or until it ended."""
        try:
            async with asyncio.timeout(seconds):
                while self.ended is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    def take_missed(self) -> bool:
        """Whether events may have been missed since this was last asked."""
        missed, self._missed = self._missed, False
        return missed

    def offer(self, event: LiveEvent) -> None:
        if len(self._events) >= self._capacity:
            self.end(EndReason.SLOW_CLIENT)
            return
        self._events.append(event)
        self._changed.set()

    def miss(self) -> None:
        self._missed = True
        self._changed.set()

    def end(self, reason: EndReason) -> None:
        if self.ended is None:
            self.ended = reason
        self._events.clear()
        self._changed.set()


class EventHub:
    """Open streams, by whose they are. All of it happens on one event loop."""

    def __init__(self, *, max_queued: int = MAX_QUEUED, max_streams: int = MAX_STREAMS) -> None:
        self._max_queued = max_queued
        self._max_streams = max_streams
        self._streams: Dependents[Subscription] = Dependents()
        self._closed = False

    @contextmanager
    def subscribe(self, claims: AccessClaims) -> Iterator[Subscription]:
        """Receive the events of the token's subject for as long as the context lasts.

        Raises:
            TooManyStreamsError: the subject has enough of them.
        """
        if len(self._streams.of_subject(claims.sub)) >= self._max_streams:
            raise TooManyStreamsError
        subscription = Subscription(self._max_queued)
        self._streams.add(subscription, claims)
        if self._closed:
            subscription.end(EndReason.SHUTDOWN)
        try:
            yield subscription
        finally:
            self._streams.discard(subscription)

    def publish(self, subject: str, event: LiveEvent) -> None:
        """Hand an event to each of the subject's streams."""
        for subscription in self._streams.of_subject(subject):
            subscription.offer(event)

    def miss(self) -> None:
        """Have every stream look for what was sent while nobody listened."""
        for subscription in self._streams:
            subscription.miss()

    def end(self, revoked: Revocation) -> None:
        """End the streams whose access token is revoked."""
        for subscription in self._streams.hit_by(revoked):
            subscription.end(EndReason.SESSION_ENDED)

    def close(self) -> None:
        """End every stream, and each that is opened from now on."""
        self._closed = True
        for subscription in self._streams:
            subscription.end(EndReason.SHUTDOWN)
