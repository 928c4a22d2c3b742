"""Runs a command of the machine's to its end, within a time, and says what it said."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended. `code` is -1 where it did not end in time or is not there."""

    code: int
    output: str

    @property
    def succeeded(self) -> bool:
        return self.code == 0

    @property
    def last_line(self) -> str:
        """For an error that names the cause."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


async def run(*command: str, within: float, env: Mapping[str, str] | None = None) -> Finished:
    """Run `command` without input; kill it after `within` seconds."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=env
        )
    except OSError as error:
        return Finished(-1, f"{command[0]}: {error.strerror}")
    try:
        async with asyncio.timeout(within):
            output, _ = await process.communicate()
    except TimeoutError:
        return Finished(-1, f"{command[0]} did not end within {within:.0f} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Finished(process.returncode or 0, output.decode(errors="replace"))
