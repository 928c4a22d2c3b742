"""Argon2id beside the event loop."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from auth.passwords import hash_password, verify_password
from messaging.rpc import UNAVAILABLE, Refused


class Passwords:
    """Hashes and checks in threads, and only as many at once as there are processors.

    Each costs some 60 ms and 19 MiB: a flood of sign-ins waits here instead of taking the memory,
    and what would wait for too long is refused, so that it does not hold up all other requests.
    """

    def __init__(self, at_once: int | None = None, *, most: int | None = None) -> None:
        """most: passwords that are checked or wait for it; None for any number."""
        self._turns = asyncio.Semaphore(at_once or os.cpu_count() or 1)
        self._most = most
        self._inside = 0

    async def warm_up(self) -> None:
        """Do once what only the first unknown name would have to wait for."""
        await self.verify(None, "")

    async def hash(self, password: str) -> str:
        """What to store of it.

        Raises:
            Refused: `unavailable`: too many wait already.
        """
        async with self._turn():
            return await asyncio.to_thread(hash_password, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it is the password; with nothing stored, False after the same work.

        Raises:
            Refused: `unavailable`: too many wait already.
        """
        async with self._turn():
            return await asyncio.to_thread(verify_password, stored, password)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._most is not None and self._inside >= self._most:
            raise Refused(UNAVAILABLE, "too many passwords are being checked")
        self._inside += 1
        try:
            async with self._turns:
                yield
        finally:
            self._inside -= 1
