"""Who waits for whom: deliveries about one thing are handled one after the other.

A place in line is taken at once, in the order of arrival, and waited for afterwards. So whoever
waits, waits for those only who came before, and nobody waits in a circle.
"""

import asyncio
from collections.abc import Collection
from typing import Self


class Place:
    """A place in the line of each of some things; `async with` it to run when it is your turn."""

    def __init__(self, lines: dict[str, "Place"], things: Collection[str]) -> None:
        self._lines = lines
        self._things = things
        self._before = [lines[thing] for thing in things if thing in lines]
        self.left = asyncio.Event()
        for thing in things:
            lines[thing] = self

    async def __aenter__(self) -> Self:
        for place in self._before:
            await place.left.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left.set()
        for thing in self._things:
            if self._lines.get(thing) is self:
                del self._lines[thing]


class Lines:
    """The lines of one consumer's deliveries, by what they are about."""

    def __init__(self) -> None:
        self._last: dict[str, Place] = {}

    def __len__(self) -> int:
        return len(self._last)

    def join(self, things: Collection[str]) -> Place:
        """Stand behind all who came before and are about any of these things."""
        return Place(self._last, things)
