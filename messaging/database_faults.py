"""Which errors of a database are its own fault or ours, and one clear line for each."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from messaging.errors import DatabaseUnavailableError

_OURS: Final = ("08", "25", "28", "3D", "40", "42", "53", "54", "55", "57", "58", "F0", "XX")
"""Classes of SQLSTATE that no message is to blame for (PostgreSQL, appendix A)."""

_POSTGRES: Final = {
    "28P01": "refuses the login: wrong user name or password",
    "28000": "refuses the login: wrong user name or password",
    "3D000": "has no such database; create it",
    "25006": "is read-only",
    "42P01": "has no such table; is it migrated? run: carnet migrate",
    "42501": "does not let this user do that",
    "53300": "has no connection left",
    "55P03": "is locked",
    "57P03": "is starting up or shutting down",
}

_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_READONLY: "is read-only; make the file and its folder writable",
    sqlite3.SQLITE_FULL: "is on a full disk",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
    sqlite3.SQLITE_CORRUPT: "is corrupt",
    sqlite3.SQLITE_NOTADB: "is no SQLite database",
}

_PRIMARY: Final = 0xFF
"""The low byte of an extended result code (sqlite.org/rescode.html)."""


@contextmanager
def database_faults(url: URL) -> Iterator[None]:
    """Raise what is the database's fault, or ours, as one error with one clear line.

    Everything else, as a violated constraint, passes as it is.

    Raises:
        DatabaseUnavailableError
    """
    try:
        yield
    except DBAPIError as error:
        if not is_database_fault(error):
            raise
        raise DatabaseUnavailableError(_explain(url, error.orig)) from error
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError(_explain(url, error)) from error


@contextmanager
def connect_faults(url: URL) -> Iterator[None]:
    """The same for what asyncpg raises, unwrapped, while it connects.

    Raises:
        DatabaseUnavailableError
    """
    try:
        yield
    except _unwrapped(url) as error:
        raise DatabaseUnavailableError(_explain(url, error)) from error


def _unwrapped(url: URL) -> tuple[type[Exception], ...]:
    if url.get_backend_name() == "sqlite":
        return (OSError,)
    import asyncpg  # noqa: PLC0415 - whoever runs on SQLite does without it

    return (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def address_of(url: URL) -> str:
    """What to call the database in front of people: never with its password."""
    if url.get_backend_name() == "sqlite":
        return f"the database {url.database}"
    return f"the database {url.database} at {url.host}:{url.port or 5432}"


def is_database_fault(error: BaseException) -> bool:
    """Whether it is one that `database_faults` makes a `DatabaseUnavailableError` of."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeoutError)
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_OURS)
    # sqlite3 raises the base class itself for a file that is corrupt, or no database at all.
    return isinstance(error, (OperationalError, InterfaceError)) or type(error) is DatabaseError


def _explain(url: URL, error: BaseException | None) -> str:
    where = address_of(url)
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        if code & _PRIMARY == sqlite3.SQLITE_CANTOPEN:
            return f"{where} cannot be opened: {_missing(Path(url.database or ''))}"
        return f"{where} {_SQLITE.get(code & _PRIMARY, f'fails: {_line(error)}')}"
    state = getattr(error, "sqlstate", None)
    if state in _POSTGRES:
        return f"{where} {_POSTGRES[state]}"
    if isinstance(error, OSError):
        return f"{where} does not answer ({_line(error)}); is it running, and is the URL right?"
    return f"{where} fails: {_line(error)}"


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    if path.is_dir():
        return "it is a folder"
    return "make the file and its folder readable and writable"


def _line(error: BaseException | None) -> str:
    """The first line of an error's own text: the statement and its values are not in it."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
