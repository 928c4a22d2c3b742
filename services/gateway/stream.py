"""One stream of order events: each of the user's events once, in order, over any gateway.

A user's events are counted without a gap. So a stream needs to know one number, the last one
that its client has seen: the next one is sent, a lower one was sent already, and a higher one
means that some are missing, which the order service still has.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi.sse import ServerSentEvent

from auth.errors import AuthError
from auth.verifier import Verifier
from messaging.errors import MessagingError
from messaging.trust import LiveTrust
from services.contracts.orders import EventsPage
from services.gateway.live import EndReason, LiveEvent
from services.gateway.standing import StandingStream
from services.web.faults import problem_of

RETRY_FETCH: Final = 2.0
"""Seconds until what is missing is asked for again."""
RECONNECT: Final = 2000
"""Milliseconds that a client waits before it opens a stream that broke again."""
UNAUTHENTICATED: Final = 401

History = Callable[[int], Awaitable[EventsPage]]
"""The user's events after a sequence number, oldest first, and the newest number there is."""


class Standing:
    """Whether an access token that was accepted is so still, as key set after key set comes.

    A revocation ends a stream by itself. Keys and clients are withdrawn by a key set statement:
    under each new one the token is judged again, and before that nothing is told.
    """

    def __init__(self, unverified_token: str, verifier: Verifier, trust: LiveTrust) -> None:
        """Begin where the token was accepted under the present key set."""
        self._token = unverified_token
        self._verifier = verifier
        self._trust = trust
        self._version = trust.key_set.version

    def holds(self, *, now: float) -> bool:
        """Whether it can be said, now, that the token is accepted.

        Raises:
            RefusalError: it no longer is.
        """
        if not self._trust.fresh:
            return False
        version = self._trust.key_set.version
        if version != self._version:
            self._verifier.access_token(self._token, now=now)
            self._version = version
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStream(StandingStream):
    """A stream that starts after the event `after`.

    replay: whether to begin with what there is already.
    """

    history: History
    after: int
    replay: bool

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """What to send, until the token, the session, the client's patience or we end it."""
        last, behind = self.after, self.replay
        yield ServerSentEvent(comment="carnet order events", retry=RECONNECT)
        while (reason := self._end()) is None:
            if not self._trusted():
                if self.subscription.ended is not None:
                    continue
                yield ServerSentEvent(comment="waiting for the trust feed")
                behind = True
                await self.subscription.pause(min(RETRY_FETCH, self._left()))
                continue
            if behind or self.subscription.take_missed():
                page = await self._fetch(last)
                if page is None:
                    yield ServerSentEvent(comment="waiting for the order service")
                    behind = True
                    await self.subscription.pause(min(RETRY_FETCH, self._left()))
                    continue
                for event in _fresh(page, last):
                    if not self._trusted():
                        break
                    yield _sent(event)
                    last = event.sequence
                # An id from the future is no place to wait for: it counts as the present.
                behind = page.latest > last and bool(page.events)
                last = min(last, page.latest)
                continue
            live = await self.subscription.wait(min(self.heartbeat, self._left()))
            if live is None:
                yield ServerSentEvent(comment="alive")
            elif live.sequence == last + 1 and self._trusted():
                yield _sent(live)
                last = live.sequence
            else:
                behind = live.sequence > last
        yield ServerSentEvent(event="end", raw_data=json.dumps({"reason": reason}))

    async def _fetch(self, after: int) -> EventsPage | None:
        """What is missing; None where it cannot be had now."""
        try:
            return await self.history(after)
        except (MessagingError, AuthError) as error:
            problem = problem_of(error)
            if problem is None:
                raise
            if problem.status_code == UNAUTHENTICATED:
                self.subscription.end(EndReason.SESSION_ENDED)
            return None


def _fresh(page: EventsPage, last: int) -> list[LiveEvent]:
    return [
        LiveEvent(event.sequence, event.type, event.body)
        for event in page.events
        if event.sequence > last
    ]


def _sent(event: LiveEvent) -> ServerSentEvent:
    return ServerSentEvent(id=str(event.sequence), event=event.type, raw_data=event.body)
