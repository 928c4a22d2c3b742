"""Consumers in processes of their own (`tests.messaging.mortal`), as a test has them run."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.messaging.mortal import Plan

START: Final = 60.0
"""Seconds for a process to consume, on a machine that does other things too."""


class Supervisor:
    """One at work; `said` is what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._news = asyncio.Condition()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.said.append(line.decode().strip())
                self._news.notify_all()

    async def until_ready(self) -> None:
        """Its consumer consumes, for the first time."""
        async with asyncio.timeout(START), self._news:
            await self._news.wait_for(lambda: "ready" in self.said)

    async def stop(self) -> int:
        """As on SIGTERM; the exit code of the consumer that ran last."""
        self.process.terminate()
        async with asyncio.timeout(START):
            return await self.process.wait()


@asynccontextmanager
async def supervised(plan: Plan, folder: Path) -> AsyncIterator[Supervisor]:
    """A supervisor, and the consumer that it has started; both have ended afterwards."""
    plan.save(folder)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.messaging.mortal", folder, stdout=asyncio.subprocess.PIPE
    )
    supervisor = Supervisor(process)
    listening = asyncio.create_task(supervisor.listen())
    try:
        yield supervisor
    finally:
        if process.returncode is None:
            await supervisor.stop()
        await listening
