"""Looking at a database's revision: on each kind of database, with nothing changed there."""

import hashlib
import shutil
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from messaging.errors import DatabaseUnavailableError
from messaging.findings import Verdict
from messaging.migrations import upgrade
from messaging.schema import examine_schema, reading

MIGRATIONS: Final = Path(__file__).with_name("migrated")


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The migrations of an earlier version."""
    folder = tmp_path / "older"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__", "0002*"))
    return folder


async def test_a_database_that_is_up_to_date_is_in_order(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS)

    found = await examine_schema(database_url, MIGRATIONS, service="orders")

    assert found.verdict is Verdict.OK
    assert found.detail.endswith("is at revision 0002")


async def test_a_database_that_is_behind_is_told_with_the_command(
    database_url: str, older: Path
) -> None:
    await upgrade(database_url, older)

    found = await examine_schema(database_url, MIGRATIONS, service="orders")

    assert found.verdict is Verdict.FAIL
    assert "is at revision 0001 and must be at 0002; " in found.detail
    assert "carnet migrate orders" in found.detail


async def test_a_database_of_a_newer_version_is_told(database_url: str, older: Path) -> None:
    await upgrade(database_url, MIGRATIONS)

    found = await examine_schema(database_url, older, service="orders")

    assert found.verdict is Verdict.FAIL
    assert "at revision 0002, which this version does not know" in found.detail


async def test_an_empty_database_is_told(postgres_url: str) -> None:
    found = await examine_schema(postgres_url, MIGRATIONS, service="orders")

    assert found.verdict is Verdict.FAIL
    assert "is at revision none and must be at 0002" in found.detail


async def test_nothing_can_be_written_meanwhile(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS)

    with pytest.raises((DatabaseUnavailableError, DBAPIError)):
        async with reading(database_url) as connection:
            await connection.execute(text("DELETE FROM second"))


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    with pytest.raises(DatabaseUnavailableError, match="there is no database"):
        await examine_schema(f"sqlite+aiosqlite:///{path}", MIGRATIONS, service="orders")

    assert not path.exists()


@pytest.mark.parametrize("name", ["a.db", "a b#1.db"])
async def test_a_file_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    url = f"sqlite+aiosqlite:///{path}"
    await upgrade(url, MIGRATIONS)
    before = hashlib.sha256(path.read_bytes()).digest()

    await examine_schema(url, MIGRATIONS, service="orders")

    assert hashlib.sha256(path.read_bytes()).digest() == before


async def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """As a read-only mount would make it; permissions do not hold root back."""
    path = tmp_path / "a.db"
    await upgrade(f"sqlite+aiosqlite:///{path}", MIGRATIONS)

    url = f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true"
    found = await examine_schema(url, MIGRATIONS, service="orders")

    assert found.verdict is Verdict.FAIL
    assert "is read-only" in found.detail


async def test_nobody_at_the_address_is_said() -> None:
    with pytest.raises(DatabaseUnavailableError, match="does not answer"):
        await examine_schema("postgresql+asyncpg://a:b@127.0.0.1:1/c", MIGRATIONS, service="orders")


async def test_no_database_at_all_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("a shopping list, and a long one at that\n" * 100)

    with pytest.raises(DatabaseUnavailableError, match="no SQLite database"):
        await examine_schema(f"sqlite+aiosqlite:///{path}", MIGRATIONS, service="orders")
