"""How long a delivery is held on to when trust or the database is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from auth.errors import TrustUnavailableError
from messaging.errors import DatabaseUnavailableError
from messaging.pause import Backoff

LONGEST: Final = 5.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class GivenUpError(Exception):
    """We stop, or the channel is lost: the broker keeps the message."""


class Patience:
    """Until one of `ends`: the shutdown, the loss of the delivery's channel."""

    def __init__(self, *ends: asyncio.Event, longest: float = LONGEST) -> None:
        """`longest`: seconds between two tries at most."""
        self._ends = ends
        self._longest = longest

    async def insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """The result of `step`, tried again for as long as it is our fault that there is none.

        Raises:
            GivenUpError: an end has come. A step that runs already is let finish.
        """
        backoff = Backoff(limit=self._longest)
        while True:
            if any(end.is_set() for end in self._ends):
                raise GivenUpError
            try:
                return await step()
            except (TrustUnavailableError, DatabaseUnavailableError) as fault:
                log.warning("consumer_waits", code=fault.code, detail=fault.detail)
            await backoff.pause(*self._ends)
