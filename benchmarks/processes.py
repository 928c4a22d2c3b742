"""What processes of this machine have used and hold, as `/proc` has it (proc(5))."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")


def processor_time(pid: int) -> float:
    """Seconds that a process has used, in user and kernel mode."""
    return sum(_times(pid)[:2]) / TICKS


def processor_time_of_all(pid: int) -> float:
    """The same, with that of its children, of theirs, and of those that it has outlived."""
    own = sum(_times(pid)) / TICKS
    return own + sum(processor_time_of_all(child) for child in children(pid))


def children(pid: int) -> Iterator[int]:
    """The processes that a process has started, and that run."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        yield from map(int, chain.from_iterable(text.split() for text in found))


def memory(pid: int, field: str) -> int:
    """A figure of a process in bytes, as `VmRSS`."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith(f"{field}:"))
    return int(found.split()[1]) * 1024


def peak_memory(pid: int) -> int:
    """Most resident memory so far, in bytes."""
    return memory(pid, "VmHWM")


def _times(pid: int) -> list[int]:
    """User, kernel, and both of the children that were waited for; none once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return [int(ticks) for ticks in text.rpartition(")")[2].split()[11:15]]
    return []
