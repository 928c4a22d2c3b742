"""SQLite in few steps of its driver's thread.

aiosqlite hands each call to a thread, and for SQLAlchemy a statement is four: its cursor, itself,
its rows, the cursor's end. Each waits for Python's lock, and then for a turn of the loop. Here a
statement and its first rows are one; a cursor is none, nor is the rollback of nothing.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Self

import aiosqlite

FIRST: Final = 1_000
"""Rows that come with their statement at most; what is left comes when it is asked for."""


class Connection(aiosqlite.Connection):
    """One that does one thing at a time, as a session has it."""

    _abandoned = False
    """Nobody waited for the end of a step: it may run yet."""

    @classmethod
    def open(cls, path: str, **options: Any) -> Self:
        """As `sqlite3.connect`, once it is awaited. Its thread keeps no process alive.

        `check_same_thread` is to be off: cursors are made by whoever asks for one.
        """
        connection = cls(partial(sqlite3.connect, path, **options), FIRST)
        connection._thread.daemon = True
        return connection

    def cursor(self) -> "Cursor":  # type: ignore[override]  # is used in the same way
        return Cursor(self, self._conn.cursor())

    async def rollback(self) -> None:
        """Does nothing where nothing has begun."""
        if self._abandoned or self.in_transaction:
            await super().rollback()  # after all that was asked before
            self._abandoned = False

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            self._abandoned = True
            raise


class Cursor(aiosqlite.Cursor):
    """One that holds the first rows of its statement."""

    def __init__(self, connection: Connection, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._ahead: list[Any] = []
        self._all_here = True

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        self._all_here = False
        self._ahead = await self._execute(self._run, sql, parameters or ())  # type: ignore[no-untyped-call]
        self._all_here = len(self._ahead) < FIRST
        return self

    def _run(self, sql: str, parameters: Any) -> list[Any]:
        return self._cursor.execute(sql, parameters).fetchmany(FIRST)

    async def fetchone(self) -> Any:
        return next(iter(await self.fetchmany(1)), None)

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        if not self._ahead and not self._all_here:
            return list(await super().fetchmany(size))
        size = size or self.arraysize
        rows, self._ahead = self._ahead[:size], self._ahead[size:]
        return rows

    async def fetchall(self) -> list[Any]:
        rows, self._ahead = self._ahead, []
        return rows if self._all_here else [*rows, *await super().fetchall()]

    async def close(self) -> None:
        """A statement that has given all its rows has ended by itself."""
        if not self._all_here:
            await super().close()
