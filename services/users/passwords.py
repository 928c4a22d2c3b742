"""Argon2id beside the event loop."""

import asyncio
import os

from auth.passwords import hash_password, verify_password


class Passwords:
    """Hashes and checks in threads, and only as many at once as there are processors.

    Each costs some 60 ms and 19 MiB: a flood of sign-ins waits here instead of taking the memory.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self._turns = asyncio.Semaphore(at_once or os.cpu_count() or 1)

    async def warm_up(self) -> None:
        """Do once what only the first unknown name would have to wait for."""
        await self.verify(None, "")

    async def hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(hash_password, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it is the password; with nothing stored, False after the same work."""
        async with self._turns:
            return await asyncio.to_thread(verify_password, stored, password)
