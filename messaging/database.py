"""A service's own database: SQLite by default, PostgreSQL for more than one replica."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import URL, event, make_url, text
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    AsyncSessionTransaction,
    create_async_engine,
)
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import immutabledict

from messaging.database_faults import connect_faults, database_faults
from messaging.errors import DatabaseExposedError, DatabaseUrlError
from messaging.metrics import Metrics
from messaging.sqlite_driver import Connection

DRIVERS: Final = ("sqlite+aiosqlite", "postgresql+asyncpg")

WAIT: Final = 10.0
"""Seconds for a connection, and for a lock that somebody else holds."""

STATEMENT: Final = 30.0
"""Seconds for one statement on PostgreSQL."""

PAGE: Final = 50
"""Rows that one statement inserts at most: each number of rows is a statement of its own, which the
driver keeps prepared."""

_OTHERS: Final = 0o077
_WRITES: Final = "carnet_writes"
_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    # A committed order is on the disk, also when the power fails.
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={int(WAIT * 1000)}",
)


class Database:
    """Sessions on one database; share one per process."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine = _create_engine(url)
        self._writer = asyncio.Lock() if self.engine.dialect.name == "sqlite" else None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session to read with. It writes only inside of `async with session.begin()`.

        Raises:
            DatabaseUnavailableError: also from within the block.
        """
        with database_faults(self.url):
            async with _Session(self.engine, self._writer) as session:
                yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that commits at the end of the block, or rolls back what raises.

        Raises:
            DatabaseUnavailableError: also from within the block; nothing is known to be stored.
        """
        async with self.session() as session, session.begin():
            yield session

    async def check(self) -> Self:
        """Make sure that the database can be written to now.

        Raises:
            DatabaseUnavailableError
        """
        async with self.transaction() as session:
            await session.execute(text("SELECT 1"))
        return self

    def watch(self, metrics: Metrics) -> None:
        """Tell of its pool of connections (OpenTelemetry's `db.client.connection.*`)."""
        connections = metrics.gauge(
            "db_client_connections",
            "Connections to the database that are in use, or wait for it.",
            labels=("state",),
        )
        limit = metrics.gauge(
            "db_client_connections_max", "Connections to the database that there can be at once."
        ).of()
        pool = self.engine.pool
        if isinstance(pool, QueuePool):
            connections.of("used").follow(pool.checkedout)
            connections.of("idle").follow(pool.checkedin)
            limit.follow(lambda: pool.size() + pool._max_overflow)  # noqa: SLF001 - told nowhere else

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def open_database(url: str) -> Database:
    """Describe a database; nothing is connected before the first session.

    Raises:
        DatabaseUrlError: not a URL of `sqlite+aiosqlite` or `postgresql+asyncpg`.
    """
    return Database(parse_database_url(url))


def parse_database_url(text_url: str) -> URL:
    """Read a database URL.

    Raises:
        DatabaseUrlError: see `open_database`.
    """
    try:
        url = make_url(text_url)
    except ArgumentError as error:
        raise DatabaseUrlError("not a database URL") from error
    if url.drivername not in DRIVERS or not url.database:
        raise DatabaseUrlError(
            "a database URL has the form sqlite+aiosqlite:///path/to/file.db"
            " or postgresql+asyncpg://name:password@host:5432/database"
        )
    return url


async def writing(connection: AsyncConnection) -> AsyncConnection:
    """A connection whose next transaction will write (see `_begin_sqlite`)."""
    return await connection.execution_options(**{_WRITES: True})


def _create_engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url,
            pool_timeout=WAIT,
            # The one writer comes back to the connection that has its pages and statements.
            pool_use_lifo=True,
            hide_parameters=True,
            insertmanyvalues_page_size=PAGE,
            connect_args={"async_creator_fn": Connection.open},
        )
        event.listen(engine.sync_engine, "do_connect", _open_sqlite)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    engine = create_async_engine(
        url,
        pool_size=20,
        pool_timeout=WAIT,
        pool_pre_ping=True,
        hide_parameters=True,
        insertmanyvalues_page_size=PAGE,
        connect_args={"timeout": WAIT, "command_timeout": STATEMENT},
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Any, _record: object, args: Any, options: Any) -> Any:
        with connect_faults(url):
            return dialect.connect(*args, **options)

    return engine


def _open_sqlite(_dialect: object, _record: object, args: Any, options: Any) -> None:
    if not options.get("uri", False):
        close_to_others(Path(args[0]))
    # Where the file cannot be opened, aiosqlite leaves a thread behind that reports to a loop
    # which may have ended: its stack trace would come after our one clear line.
    sqlite3.connect(args[0], uri=options.get("uri", False)).close()


def close_to_others(path: Path) -> None:
    """Make the file of a database, or take group and others the right to read it.

    Its log and index get its mode. It is not opened where it exists: closing it again would
    release the locks that this process holds (sqlite.org/howtocorrupt.html §2.2).

    Raises:
        DatabaseExposedError: others may read it, and we may not change that.
    """
    if str(path) == ":memory:":
        return
    with suppress(FileExistsError, FileNotFoundError, PermissionError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for file in (path, *(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))):
        with suppress(FileNotFoundError):
            mode = file.stat().st_mode
            if not mode & _OTHERS:
                continue
            try:
                file.chmod(stat.S_IMODE(mode) & ~_OTHERS)
            except OSError as error:
                raise DatabaseExposedError(
                    f"{file}: others may read or write it, and we cannot change that; "
                    f"as its owner: chmod 600 {file}"
                ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: SyncConnection) -> None:
    # A writer takes the lock at once. One that reads first and then writes is refused, at any
    # time-out, when somebody else wrote in between (sqlite.org/isolation.html).
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class _Session(AsyncSession):
    """A session whose writers, on SQLite, queue up in this process.

    SQLite has one writer at a time and lets the others poll for the lock, unfairly.
    """

    def __init__(self, engine: AsyncEngine, writer: asyncio.Lock | None) -> None:
        super().__init__(engine, expire_on_commit=False)
        self.writer = writer

    def begin(self) -> AsyncSessionTransaction:
        return _Transaction(self) if self.writer is not None else super().begin()


class _Transaction(AsyncSessionTransaction):
    session: _Session

    async def start(self, is_ctxmanager: bool = False) -> AsyncSessionTransaction:  # noqa: FBT001, FBT002 - the library's signature
        if self.session.writer is None or not is_ctxmanager:
            raise TypeError("write it: async with session.begin()")
        await self.session.writer.acquire()
        try:
            self.session.sync_session.execution_options = immutabledict({_WRITES: True})
            return await super().start(is_ctxmanager)
        except BaseException:
            self.session.writer.release()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await super().__aexit__(*exc_info)
        finally:
            if self.session.writer is not None:
                self.session.writer.release()
