"""The record of processes that a run started, and the end of those that a killed run left."""

import asyncio
import fcntl
import json
import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from services.local.errors import StateInUseError


@dataclass(frozen=True, slots=True)
class Started:
    """A process, and a `mark` in its command line that no process but ours has."""

    pid: int
    mark: str

    def runs(self) -> bool:
        """Whether it still runs; a process that was given the number since is not it."""
        try:
            command_line = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False
        return self.mark in command_line.replace(b"\0", b" ").decode(errors="replace")


def record(file: Path, started: Iterable[Started]) -> None:
    """Write down what was started, for whoever comes after us."""
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps([asdict(process) for process in started]))
    draft.replace(file)  # whole or not at all


def forget(file: Path) -> None:
    """All that was started has ended."""
    file.unlink(missing_ok=True)


async def end_leftovers(file: Path, *, within: float) -> None:
    """End what a run that was killed left behind, and forget it.

    Each process is asked to end, and after `within` seconds made to.
    """
    for process in _recorded(file):
        if process.runs():
            await asyncio.to_thread(_end, process, within)
    forget(file)


def _recorded(file: Path) -> list[Started]:
    try:
        entries = json.loads(file.read_text())
    except FileNotFoundError:
        return []
    return [Started(entry["pid"], entry["mark"]) for entry in entries]


def _end(leftover: Started, within: float) -> None:
    with suppress(ProcessLookupError):
        end = os.pidfd_open(leftover.pid)
        try:
            for request in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(end, request)
                if select.select([end], [], [], within)[0]:
                    return
        finally:
            os.close(end)


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone.

    Raises:
        StateInUseError: another process holds it.
    """
    # The lock is the kernel's: it goes when we go, even killed.
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateInUseError(folder) from error
        yield
