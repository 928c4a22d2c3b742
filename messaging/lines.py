"""Who waits for whom: deliveries about one thing are handled one after the other.

A place in line is taken at once, in the order of arrival, and waited for afterwards. So whoever
waits, waits only for those who came before.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """The places of one job, in the line of each thing that it is about."""

    def __init__(self, last: dict[str, "Places"]) -> None:
        """`last`: by what they are about, who stands last in each line."""
        self._last = last
        self._things: set[str] = set()
        self._before: list[Places] = []
        self._left = asyncio.Event()

    def join(self, thing: str) -> None:
        """Stand behind all who came before and are about this thing."""
        if thing in self._things:
            return
        self._things.add(thing)
        before = self._last.get(thing)
        if before is not None:
            self._before.append(before)
        self._last[thing] = self

    def last_in(self, thing: str) -> bool:
        """Whether nobody stands behind us in this line, if we are in it."""
        return thing not in self._things or self._last.get(thing) is self

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until it is our turn everywhere, and leave all lines afterwards."""
        try:
            for places in self._before:
                await places._left.wait()  # noqa: SLF001 - one of our own kind
            yield
        finally:
            self._before.clear()
            self._left.set()
            for thing in self._things:
                if self._last.get(thing) is self:
                    del self._last[thing]


class Lines:
    """The lines of one consumer's deliveries, by what they are about."""

    def __init__(self) -> None:
        self._last: dict[str, Places] = {}

    def __len__(self) -> int:
        return len(self._last)

    def places(self) -> Places:
        """Of a new job, which stands in no line yet."""
        return Places(self._last)
