"""The database of a service, on real SQLite files and a real PostgreSQL."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from sqlalchemy import text

from messaging.database import Database, close_to_others, open_database
from messaging.errors import DatabaseExposedError, DatabaseUnavailableError, DatabaseUrlError


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.close()


async def _make_counter(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE counter (id INT PRIMARY KEY, n INT)"))
        await session.execute(text("INSERT INTO counter VALUES (1, 0)"))


async def _count(database: Database) -> int:
    async with database.session() as session:
        return int((await session.execute(text("SELECT n FROM counter"))).scalar_one())


async def test_what_a_transaction_writes_is_there_after_it(database: Database) -> None:
    await _make_counter(database)

    async with database.transaction() as session:
        await session.execute(text("UPDATE counter SET n = 7"))

    assert await _count(database) == 7


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    await _make_counter(database)

    async def fail() -> None:
        async with database.transaction() as session:
            await session.execute(text("UPDATE counter SET n = 7"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await _count(database) == 0


async def test_many_who_read_and_then_write_lose_no_update(database: Database) -> None:
    """On SQLite a deferred transaction would be refused here, whatever the time-out."""
    await _make_counter(database)

    async def increase() -> None:
        async with database.session() as session, session.begin():
            now = (await session.execute(text(_LOCKING[database.url.get_backend_name()]))).scalar()
            await session.execute(text("UPDATE counter SET n = :n"), {"n": int(now or 0) + 1})

    await asyncio.gather(*(increase() for _ in range(40)))

    assert await _count(database) == 40


_LOCKING = {
    "sqlite": "SELECT n FROM counter",
    "postgresql": "SELECT n FROM counter FOR UPDATE",
}


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    await _make_counter(database)

    async with database.transaction() as session:
        await session.execute(text("UPDATE counter SET n = 7"))
        async with asyncio.timeout(2):
            assert await _count(database) == 0


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:///orders.db",
        "mysql+aiomysql://localhost/orders",
        "sqlite+aiosqlite://",
        "postgresql+asyncpg://localhost",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUrlError):
        open_database(url)


async def _fault(url: str) -> str:
    database = open_database(url)
    try:
        with pytest.raises(DatabaseUnavailableError) as caught:
            await database.check()
    finally:
        await database.close()
    assert len(caught.value.detail.splitlines()) == 1
    return caught.value.detail


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    assert f"the folder {missing} does not exist" in await _fault(
        f"sqlite+aiosqlite:///{missing / 'orders.db'}"
    )


async def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    assert "it is a folder" in await _fault(f"sqlite+aiosqlite:///{tmp_path}")


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.write_text("not a database, but long enough to be taken for one" * 100)

    assert (
        await _fault(f"sqlite+aiosqlite:///{path}") == f"the database {path} is no SQLite database"
    )


async def test_a_read_only_database_says_so(tmp_path: Path) -> None:
    """Opened read-only by URI, since tests may run as root, whom file modes do not stop."""
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")

    assert "is read-only" in await _fault(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true")


async def test_a_database_that_another_process_keeps_locked_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.database._PRAGMAS", ("PRAGMA busy_timeout=50",))
    path = tmp_path / "orders.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert "is locked by another process" in await _fault(f"sqlite+aiosqlite:///{path}")
    finally:
        holder.close()


async def test_a_wrong_password_says_so_and_is_not_quoted(postgres_url: str) -> None:
    good = open_database(postgres_url).url

    detail = await _fault(good.set(password="the-wrong-one").render_as_string(hide_password=False))

    assert "wrong user name or password" in detail
    assert "the-wrong-one" not in detail


async def test_a_missing_postgres_database_says_so(postgres_url: str) -> None:
    good = open_database(postgres_url).url

    assert "no such database" in await _fault(
        good.set(database="missing").render_as_string(hide_password=False)
    )


async def test_a_silent_address_says_so() -> None:
    assert "does not answer" in await _fault("postgresql+asyncpg://a:b@127.0.0.1:1/orders")


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_the_file_of_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    """Its log and index too, although the process would let others read what it makes."""
    old_umask = os.umask(0o022)
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    try:
        await _make_counter(database)
        assert _modes(tmp_path) == dict.fromkeys(("a.db", "a.db-wal", "a.db-shm"), 0o600)
    finally:
        await database.close()
        os.umask(old_umask)


async def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE counter (id INT PRIMARY KEY, n INT)")
    path.chmod(0o664)
    database = open_database(f"sqlite+aiosqlite:///{path}")
    try:
        await database.check()
    finally:
        await database.close()

    assert _modes(tmp_path)["a.db"] == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that is somebody else's")
def test_a_file_that_stays_open_to_others_is_refused() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        path = Path(folder, "a.db")
        path.touch()
        path.chmod(0o666)
        os.seteuid(65534)
        try:
            with pytest.raises(DatabaseExposedError):
                close_to_others(path)
        finally:
            os.seteuid(0)


async def test_on_sqlite_the_writer_comes_back_to_its_connection(tmp_path: Path) -> None:
    """What it has prepared and read stays with one connection, however many have been opened."""
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'orders.db'}")
    try:
        async with database.session() as one, database.session() as other:
            for session in (one, other):
                await session.execute(text("SELECT 1"))
        async with database.transaction() as session:
            await session.execute(
                text("CREATE TEMP TABLE mine (n INTEGER)")
            )  # the connection's own
        for _ in range(3):
            async with database.transaction() as session:
                await session.execute(text("INSERT INTO mine VALUES (1)"))
    finally:
        await database.close()
