"""Becomes a command that is told to stop when its parent dies, however it dies.

Run as a script, before anything of ours is imported: `leash.py PARENT COMMAND [ARGUMENT...]`.
"""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        # prctl(2): kept over execve, and sent when the parent's spawning thread ends.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(1)  # it died before the call above; nobody is left to run for
    os.execvp(command[0], command)  # noqa: S606 - the command is our parent's own, and no shell


if __name__ == "__main__":
    main()
