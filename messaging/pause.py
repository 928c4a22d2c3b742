"""Waiting that ends: for the first of some events, or a growing, random while between tries."""

import asyncio
import secrets
from typing import Final

_RANDOM: Final = secrets.SystemRandom()


async def first_of(*events: asyncio.Event, timeout: float | None) -> bool:  # noqa: ASYNC109 - that it ends without an event is a result here, no error
    """Wait until one of `events` is set; False if `timeout` seconds pass without."""
    if any(event.is_set() for event in events):
        return True
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiters, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
    return bool(done)


class Backoff:
    """Full jitter: each wait is a random part of a ceiling that doubles up to a limit.

    So those who lost the same broker at the same moment do not return at the same moment.
    """

    def __init__(self, *, first: float = 0.2, limit: float = 5.0) -> None:
        self._first = first
        self._limit = limit
        self._ceiling = first

    def reset(self) -> None:
        """The last try went well: begin with short waits again."""
        self._ceiling = self._first

    def next_wait(self) -> float:
        """Seconds to wait before the next try."""
        wait = _RANDOM.uniform(0, self._ceiling)
        self._ceiling = min(self._ceiling * 2, self._limit)
        return wait

    async def pause(self, *stops: asyncio.Event) -> bool:
        """Wait before the next try; True if one of `stops` was set instead."""
        return await first_of(*stops, timeout=self.next_wait())
