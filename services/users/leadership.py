"""Which of the replicas leads: at most one holds the lock, and it falls with its process."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TextIO

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.database import Database
from messaging.database_faults import database_faults

_LOCK: Final = 0x_CA21_4E72
"""Key of the advisory lock; PostgreSQL keeps them for each database apart."""

_KEEPALIVES: Final = ("idle", "5"), ("interval", "2"), ("count", "3")
"""Of a leader whose machine is gone the database hears nothing: after some 11 s it lets go."""


class Leadership(Protocol):
    """Holds the lock, or tries to."""

    async def hold(self) -> bool:
        """Whether we lead now.

        Raises:
            DatabaseUnavailableError: it cannot be known, so we do not.
        """
        ...

    async def release(self) -> None:
        """Lead no more."""
        ...


def leadership(database: Database) -> Leadership:
    """By an advisory lock on PostgreSQL, by a locked file beside an SQLite database."""
    if database.url.get_backend_name() == "sqlite":
        return _FileLock(Path(f"{database.url.database}.leader"))
    return _AdvisoryLock(database)


class _FileLock:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    async def hold(self) -> bool:
        if self._file is None:
            # Whoever may open it may hold it, and then nobody leads.
            file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
            try:
                os.fchmod(file.fileno(), 0o600)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return False
            self._file = file
        return True

    async def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _AdvisoryLock:
    """Held by a connection of its own for as long as that lives."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: AsyncConnection | None = None

    async def hold(self) -> bool:
        if self._connection is None:
            return await self._take()
        try:
            with database_faults(self._database.url):
                await self._connection.execute(text("SELECT 1"))
        except BaseException:
            await self.release()
            raise
        return True

    async def _take(self) -> bool:
        with database_faults(self._database.url):
            connection = await self._database.engine.connect()
            try:
                # Without a transaction, in which the database would find it idle.
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                for name, value in _KEEPALIVES:
                    await connection.execute(
                        text("SELECT set_config(:name, :value, false)"),
                        {"name": f"tcp_keepalives_{name}", "value": value},
                    )
                taken = await connection.scalar(
                    text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}
                )
            except BaseException:
                await _discard(connection)
                raise
        if taken:
            self._connection = connection
        else:
            await _discard(connection)
        return bool(taken)

    async def release(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await _discard(connection)


async def _discard(connection: AsyncConnection) -> None:
    """Close it, rather than give it back: the lock and the settings go with it."""
    with suppress(DBAPIError):
        await connection.invalidate()
    await connection.close()
