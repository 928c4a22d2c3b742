"""Room for commands that act for their callers: while the issuer is away they take not all of it.

They wait for a carnet, and the broker hands over only so many deliveries ahead. Were all of these
such commands, nothing else would come any more. So while the issuer is away, only so many of them
wait here; the others stand aside: in the queues of retries, uncounted, each in its place in line.
What was redelivered runs alone: nobody waits here while it does, or waits for that.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

AWAY: Final = 10.0
"""Seconds since it last did not answer. That somebody has a carnet does not show that it is back:
carnets are kept."""


class StandAsideError(Exception):
    """The issuer is away, and too many wait for it already."""


class OnwardRoom:
    """Who may ask the issuer now, who waits for that, and who has to stand aside."""

    def __init__(self, *, asking: int, most: int) -> None:
        """`asking`: commands that may ask at once.   `most`: that wait here while it is away."""
        self._free = asking
        self._most = most
        self._emptying = False
        self._here = 0
        self._away_until = 0.0
        self._waiting: deque[asyncio.Future[bool]] = deque()

    @property
    def crowded(self) -> bool:
        """Whether the issuer is away, and too many wait for it."""
        away = asyncio.get_running_loop().time() < self._away_until
        return away and self._here > (0 if self._emptying else self._most)

    def enter(self) -> None:
        """One more has arrived: until its `turn` is refused, or it leaves."""
        self._here += 1

    async def turn(self) -> bool:
        """Wait until it may ask, and then `leave`; False where it has to stand aside instead."""
        if self.crowded:
            self._here -= 1
            return False
        if self._free:
            self._free -= 1
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return await waiter

    def leave(self) -> None:
        """It is done with; whoever has waited for longest is next."""
        self._here -= 1
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return
        self._free += 1

    def unanswered(self) -> None:
        """The issuer does not answer: the last who came make room."""
        self._away_until = asyncio.get_running_loop().time() + AWAY
        self._make_room()

    @contextmanager
    def emptying(self) -> Iterator[None]:
        """While somebody waits until nobody runs any more, nobody waits here for who is away."""
        self._emptying = True
        self._make_room()
        try:
            yield
        finally:
            self._emptying = False

    def _make_room(self) -> None:
        while self._waiting and self.crowded:
            waiter = self._waiting.pop()
            if not waiter.done():
                self._here -= 1
                waiter.set_result(False)
