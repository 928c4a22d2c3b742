"""The user service of each test: real keys, and a database of its own."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from messaging.database import open_database
from messaging.migrations import upgrade
from services.users.store import MIGRATIONS
from tests.databases import Postgres
from tests.engine import UnavailableError
from tests.services.users.desk import Desk, open_desk
from tests.services.users.realm import Clock, Realm, Users, open_users


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def realm(clock: Clock, tmp_path: Path) -> Realm:
    return Realm(clock, tmp_path / "issuer")


@pytest_asyncio.fixture(scope="session")
async def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables, to be copied: migrating takes longer than most tests."""
    file = tmp_path_factory.mktemp("migrated") / "users.db"
    await upgrade(f"sqlite+aiosqlite:///{file}", MIGRATIONS)
    return file


@pytest_asyncio.fixture
async def users(
    request: pytest.FixtureRequest,
    realm: Realm,
    tmp_path: Path,
    migrated: Path,
    postgres: Postgres,
) -> AsyncIterator[Users]:
    """The service with the account `ada`; on SQLite, or where `everywhere` says."""
    if getattr(request, "param", "sqlite") == "sqlite":
        file = shutil.copy(migrated, tmp_path / "users.db")
        async with _open(realm, f"sqlite+aiosqlite:///{file}") as users:
            yield users
        return
    try:
        async with postgres.fresh_database() as url:
            await upgrade(url, MIGRATIONS)
            async with _open(realm, url) as users:
                yield users
    except UnavailableError as error:
        pytest.skip(f"no PostgreSQL: {error}")


@pytest_asyncio.fixture
async def desk(users: Users) -> Desk:
    return await open_desk(users)


@asynccontextmanager
async def _open(realm: Realm, url: str) -> AsyncIterator[Users]:
    database = open_database(url)
    try:
        users = await open_users(realm, database)
        await users.register()
        yield users
    finally:
        await database.close()
