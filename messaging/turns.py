"""Who may run now: many side by side, or one alone; one at a time about the same thing.

    together    beside others
    alone       once those who run have ended; those who come later wait for it to end
    arrival     one at a time: those who come later are not looked at yet
    about       after those who came before and are about the same thing

Each is taken in the order in which it is asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Line:
    """Those who are about one thing."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Turns:
    """The turns of one consumer's deliveries.

    Nobody who is not yet `together` or `alone` holds anything that those wait for, and who is
    `alone` finds nobody in a line: so they cannot wait for each other.
    """

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        """Held for as long as somebody is, or waits to be, alone."""
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._arrival = asyncio.Lock()
        self._lines: dict[str, _Line] = {}

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

    @asynccontextmanager
    async def arrival(self) -> AsyncIterator[None]:
        """Be looked at. Who asks `about` at once afterwards stands there in order of arrival."""
        async with self._arrival:
            yield

    @asynccontextmanager
    async def about(self, thing: str | None) -> AsyncIterator[None]:
        """Run while nobody else does that is about this thing. None: about nothing special."""
        if thing is None:
            yield
            return
        line = self._lines.setdefault(thing, _Line())
        line.length += 1
        try:
            async with line.lock:
                yield
        finally:
            line.length -= 1
            if line.length == 0:
                del self._lines[thing]
