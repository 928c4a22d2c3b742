"""Who may run now: many side by side, or one alone.

together    beside others
alone       once those who run have ended; those who come later wait for it to end
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """The turns of one consumer's deliveries, taken in the order in which they are asked for."""

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        """First come, first served. Held for as long as somebody is, or waits to be, alone."""
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Run beside others."""
        async with self._gate:
            self._running += 1
            self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run while nobody else does."""
        async with self._gate:
            await self._idle.wait()
            yield
