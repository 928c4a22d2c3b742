"""How a process ends that cannot go on: one clear line on standard error, and a non-zero exit."""

import sys
from typing import Final, NoReturn

from auth.errors import AuthError
from messaging.errors import MessagingError
from services.errors import StartError

EXIT_FAILED: Final = 1

KNOWN_ERRORS: Final = (StartError, AuthError, MessagingError)
"""What ends a process in one clear line."""


def fail(name: str, error: BaseException) -> NoReturn:
    """Say in one line why the process ends, and end it."""
    detail = getattr(error, "detail", None) or str(error)
    one_line = " ".join(str(detail).split())
    sys.stderr.write(f"{name}: {one_line}\n")
    sys.exit(EXIT_FAILED)
