"""A process of ours: logged, awaited, stopped, and never outliving us."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.local import leash


@dataclass(frozen=True, slots=True)
class Child:
    """A running process. `log` holds what it wrote, of this run only."""

    name: str
    process: Process
    log: Path

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> "Child":
        """Start `command` with exactly `env`, in a session of its own.

        The session keeps a terminal's Ctrl-C from it: who is stopped when is for us to say.
        Must be called in the thread that lives longest, usually the main one (see `leash`).
        """
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                leash.__file__,
                str(os.getpid()),
                *command,
                env=dict(env),
                cwd=cwd,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def ended_within(self, seconds: float) -> bool:
        """Wait for the process to end, no longer than `seconds`; say whether it has."""
        try:
            async with asyncio.timeout(seconds):
                await self.process.wait()
        except TimeoutError:
            return False
        return True

    async def until(
        self, condition: Callable[[], Awaitable[bool]], *, every: float, within: float
    ) -> bool:
        """Ask for `condition` every so often; say whether it came to hold.

        False when the process ended first, or `within` seconds have passed.
        """
        try:
            async with asyncio.timeout(within):
                while not await condition():
                    if await self.ended_within(every):
                        return False
        except TimeoutError:
            return False
        return True

    async def stop(self, *, within: float) -> bool:
        """Ask it to end; after `within` seconds end it. Say whether it went by itself."""
        if not self.running:
            return True
        self.process.terminate()
        if await self.ended_within(within):
            return True
        await self.kill()
        return False

    async def kill(self) -> None:
        """End it at once."""
        if self.running:
            self.process.kill()
            await self.process.wait()

    def last_line(self) -> str:
        """The last line that it wrote, for an error that names the cause."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        written = [line.strip() for line in lines if line.strip()]
        return written[-1] if written else "(it wrote nothing)"
