"""Migrations from code: once each, whoever starts them, or one clear line."""

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Final

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

import services
from messaging.database import open_database
from messaging.errors import DatabaseUnavailableError, MigrationError
from messaging.migrations import latest_revisions, upgrade

MIGRATIONS: Final = Path(__file__).with_name("migrated")


async def _rows(url: str) -> int:
    database = open_database(url)
    try:
        async with database.session() as session:
            return int((await session.execute(text("SELECT count(*) FROM second"))).scalar_one())
    finally:
        await database.close()


async def test_migrations_run_once(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS)
    await upgrade(database_url, str(MIGRATIONS))

    assert await _rows(database_url) == 1


async def test_replicas_that_start_at_once_wait_for_each_other(database_url: str) -> None:
    """In threads, each with a loop of its own, since migrating blocks the loop."""
    await asyncio.gather(
        *(asyncio.to_thread(lambda: asyncio.run(upgrade(database_url, MIGRATIONS))) for _ in "abcd")
    )

    assert await _rows(database_url) == 1


async def test_a_migration_that_fails_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(MIGRATIONS, broken, ignore=shutil.ignore_patterns("__pycache__"))
    second = broken / "versions" / "0002_second.py"
    second.write_text(second.read_text() + "    raise ZeroDivisionError\n")
    with pytest.raises(ZeroDivisionError):
        await upgrade(database_url, broken)

    await upgrade(database_url, MIGRATIONS)

    assert await _rows(database_url) == 1


async def test_a_database_that_is_ahead_of_the_code_is_said(
    database_url: str, tmp_path: Path
) -> None:
    await upgrade(database_url, MIGRATIONS)
    older = tmp_path / "older"
    shutil.copytree(MIGRATIONS, older, ignore=shutil.ignore_patterns("__pycache__", "0002*"))

    with pytest.raises(MigrationError, match="0002") as caught:
        await upgrade(database_url, older)

    assert len(caught.value.detail.splitlines()) == 1


async def test_a_folder_without_migrations_is_named(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=f"no migrations in {tmp_path}"):
        await upgrade(database_url, tmp_path)


async def test_a_missing_folder_for_the_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match="does not exist"):
        await upgrade(f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'a.db'}", MIGRATIONS)


async def test_a_locked_database_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.database._PRAGMAS", ("PRAGMA busy_timeout=50",))
    path = tmp_path / "a.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(DatabaseUnavailableError, match="locked"):
            await upgrade(f"sqlite+aiosqlite:///{path}", MIGRATIONS)
    finally:
        holder.close()


@pytest.mark.parametrize("service", ["orders", "users", "gateway"])
def test_the_latest_revision_is_read_as_alembic_reads_it(service: str) -> None:
    folder = Path(services.__file__).parent / service / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")

    assert latest_revisions(folder) == set(ScriptDirectory.from_config(config).get_heads())
