"""How long a delivery is held on to when trust or the database is away."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
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
    """Until the shutdown, or until the channels of all the deliveries are lost."""

    def __init__(
        self,
        shutdown: asyncio.Event,
        losses: Collection[asyncio.Event],
        *,
        longest: float = LONGEST,
    ) -> None:
        """`longest`: seconds between two tries at most."""
        self._shutdown = shutdown
        self._losses = losses
        self._longest = longest

    @property
    def _ended(self) -> bool:
        return self._shutdown.is_set() or all(lost.is_set() for lost in self._losses)

    async def insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """The result of `step`, tried again for as long as it is our fault that there is none.

        Raises:
            GivenUpError: an end has come. A step that runs already is let finish.
        """
        backoff = Backoff(limit=self._longest)
        while True:
            if self._ended:
                raise GivenUpError
            try:
                return await step()
            except (TrustUnavailableError, DatabaseUnavailableError) as fault:
                log.warning("consumer_waits", code=fault.code, detail=fault.detail)
            held = (lost for lost in self._losses if not lost.is_set())
            await backoff.pause(self._shutdown, *held)
