"""SQLite's driver with few steps: what SQLAlchemy is given is what it had before."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from messaging.database import Database, open_database
from messaging.sqlite_driver import FIRST, Connection
from tests.messaging.raw import WAIT

MANY = 2 * FIRST + 345
"""Rows that come in several steps."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with numbers from 0 on."""
    file = tmp_path / "numbers.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO numbers VALUES (?)", ((n,) for n in range(MANY)))
        connection.commit()
    return file


@pytest_asyncio.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite+aiosqlite:///{path}")
    yield database
    await database.close()


def below(limit: int) -> str:
    return f"SELECT n FROM numbers WHERE n < {limit} ORDER BY n"  # noqa: S608 - a number of ours


@pytest.mark.parametrize("count", [0, 1, FIRST - 1, FIRST, FIRST + 1, MANY])
async def test_all_rows_come_once_and_in_their_order(database: Database, count: int) -> None:
    async with database.session() as session:
        found = (await session.scalars(text(below(count)))).all()
        streamed = [row.n async for row in await session.stream(text(below(count)))]
        some = await session.stream(text(below(count)), execution_options={"yield_per": 300})
        parts = [row.n async for part in some.partitions() for row in part]
        first = (await session.execute(text(below(count)))).first()

    assert found == streamed == parts == list(range(count))
    assert first == ((0,) if count else None)


async def test_rows_that_nobody_asked_for_hold_up_no_commit(database: Database, path: Path) -> None:
    async with database.transaction() as session:
        rows = await session.stream(text(below(MANY)))
        assert (await rows.first()) == (0,)
        await session.execute(text("DELETE FROM numbers WHERE n > 0"))

    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM numbers").fetchone() == (1,)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[Connection, list[str]]]:
    """A connection, and the steps that its thread is asked for."""
    connection = Connection.open(str(path), isolation_level=None, check_same_thread=False)
    await connection
    steps: list[str] = []
    put = connection._tx.put_nowait

    def note(step: Any) -> None:
        steps.append(repr(step[1]))
        put(step)

    connection._tx = SimpleNamespace(put_nowait=note)  # type: ignore[assignment]
    yield connection, steps
    await connection.close()


async def test_a_statement_with_its_rows_is_one_step(path: Path) -> None:
    async with opened(path) as (connection, steps):
        async with connection.cursor() as cursor:
            await cursor.execute(below(FIRST - 1))
            assert cursor.description[0][0] == "n"
            assert (await cursor.fetchone()) == (0,)
            assert len(await cursor.fetchmany(10)) == 10
            assert len(await cursor.fetchall()) == FIRST - 12

        assert len(steps) == 1


async def test_what_has_begun_is_rolled_back_and_nothing_else(path: Path) -> None:
    async with opened(path) as (connection, steps):
        await connection.rollback()
        assert steps == []

        await connection.cursor().execute("BEGIN IMMEDIATE")
        await connection.cursor().execute("DELETE FROM numbers")
        await connection.rollback()

        assert not connection.in_transaction
        cursor = await connection.cursor().execute(below(5))
        assert len(await cursor.fetchall()) == 5


async def test_who_gives_up_a_beginning_that_waits_leaves_none_behind(path: Path) -> None:
    """It begins after all, once the lock is free: nobody is to find it begun."""
    running = threading.Event()
    async with opened(path) as (connection, _):
        await connection.set_trace_callback(lambda _: running.set())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(connection.cursor().execute("BEGIN IMMEDIATE"))
            assert await asyncio.to_thread(running.wait, WAIT)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not connection.in_transaction
            other.execute("ROLLBACK")

            await connection.rollback()

            await connection.execute_fetchall("SELECT 1")  # after all that was asked before
            assert not connection.in_transaction
            other.execute("BEGIN IMMEDIATE")


async def test_a_transaction_that_is_given_up_is_undone(database: Database) -> None:
    async def write(begun: asyncio.Event) -> None:
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM numbers"))
            begun.set()
            await asyncio.Event().wait()

    for _ in range(5):
        begun = asyncio.Event()
        writing = asyncio.create_task(write(begun))
        async with asyncio.timeout(WAIT):
            await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    async with database.transaction() as session:
        assert (await session.scalars(text("SELECT count(*) FROM numbers"))).one() == MANY


async def test_a_fault_is_told_as_ever(database: Database) -> None:
    async with database.session() as session:
        with pytest.raises(OperationalError, match="no such table: elsewhere"):
            await session.execute(text("SELECT * FROM elsewhere"))
        assert (await session.scalars(text(below(2)))).all() == [0, 1]
