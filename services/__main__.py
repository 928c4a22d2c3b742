"""Runs one service in a process that has nothing else in it: `python -m services orders`.

`carnet orders` and the local stack start services by it.
"""

import gc
import importlib
import sys
from typing import Final, NoReturn

SERVICES: Final = ("users", "orders", "gateway", "console")


def run(service: str) -> NoReturn:
    """Run the service of this name until it is told to stop."""
    for package in ("rich", "pygments"):
        leave_out(package)
    # What is imported stays: to look through it for garbage is a tenth of a start in vain.
    gc.disable()
    main = importlib.import_module(f"services.{service}.__main__").main
    gc.enable()
    gc.freeze()
    main()
    raise AssertionError("a service's main() exits by itself")


def leave_out(package: str) -> None:
    """Have `package` count as not installed in this process, for who takes it where it is.

    structlog takes rich (4 MiB with pygments, 60 ms) to show stack traces; `services.logs` has
    them written without. httpx takes both for a command line of its own. An entry of None makes an
    import fail (docs.python.org/3/reference/import, "the module cache").
    """
    sys.modules[package] = None  # type: ignore[assignment]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SERVICES:  # noqa: PLR2004
        sys.exit(f"which service? one of: {', '.join(SERVICES)}")
    run(sys.argv[1])
