"""What the harness tells a service's process as it runs: how wrong its clock is, where it dies.

A file of a few bytes that both map into memory: to look at it costs the process next to nothing,
and what it says outlives the process.
"""

import mmap
import os
import signal
import struct
from enum import IntEnum
from pathlib import Path
from typing import Final

VARIABLE: Final = "CARNET_CHAOS_CONTROLS"
"""Names the file to the process."""

_SHIFT: Final = struct.Struct("=d")
_ARMED: Final = struct.Struct("=II")


class Point(IntEnum):
    """Places in the services between two steps that belong together."""

    ORDER_UNCOMMITTED = 1
    COMMIT_UNRELAYED = 2
    EFFECT_UNACKNOWLEDGED = 3
    EVENT_CONFIRMED = 4
    COPY_CONFIRMED = 5
    COMMAND_UNSENT = 6
    COMMAND_CONFIRMED = 7
    REPLY_UNSENT = 8


class Controls:
    """The controls of one process."""

    def __init__(self, file: Path) -> None:
        """Open them; made, with nothing set, where they are not there."""
        with file.open("r+b" if file.exists() else "w+b") as opened:
            opened.truncate(_SHIFT.size + _ARMED.size)
            self._memory = mmap.mmap(opened.fileno(), 0)

    @property
    def shift(self) -> float:
        """Seconds by which the process's clock is ahead."""
        shift: float = _SHIFT.unpack_from(self._memory)[0]
        return shift

    @shift.setter
    def shift(self, seconds: float) -> None:
        _SHIFT.pack_into(self._memory, 0, seconds)

    def arm(self, point: Point, passes: int) -> None:
        """Have the process die when it comes to `point` for so many times."""
        _ARMED.pack_into(self._memory, _SHIFT.size, point, passes)

    def disarm(self) -> None:
        """Let it live."""
        _ARMED.pack_into(self._memory, _SHIFT.size, 0, 0)

    @property
    def armed(self) -> bool:
        """Whether it has yet to die."""
        return bool(_ARMED.unpack_from(self._memory, _SHIFT.size)[0])

    def reach(self, point: Point) -> None:
        """In the process itself: it is at `point`. Do not return if it is to die here."""
        armed, passes = _ARMED.unpack_from(self._memory, _SHIFT.size)
        if armed != point:
            return
        if passes > 1:
            self.arm(point, passes - 1)
            return
        self.disarm()
        os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None:
        self._memory.close()
