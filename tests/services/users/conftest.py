"""The user service of each test: real keys, and a database of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from messaging.database import open_database
from messaging.migrations import upgrade
from services.contracts.topology import GATEWAY
from services.users.store import MIGRATIONS
from tests.databases import Postgres
from tests.engine import UnavailableError
from tests.services.users.realm import Clock, Realm, Users, as_client, make_handlers


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def realm(clock: Clock) -> Realm:
    return Realm(clock)


@pytest_asyncio.fixture
async def users(
    request: pytest.FixtureRequest, realm: Realm, tmp_path: Path, postgres: Postgres
) -> AsyncIterator[Users]:
    """The service with the account `ada`; on SQLite, or where `everywhere` says."""
    if getattr(request, "param", "sqlite") == "sqlite":
        async with _open(realm, f"sqlite+aiosqlite:///{tmp_path / 'users.db'}") as users:
            yield users
        return
    try:
        async with postgres.fresh_database() as url, _open(realm, url) as users:
            yield users
    except UnavailableError as error:
        pytest.skip(f"no PostgreSQL: {error}")


@asynccontextmanager
async def _open(realm: Realm, url: str) -> AsyncIterator[Users]:
    await upgrade(url, MIGRATIONS)
    database = open_database(url)
    try:
        handlers = make_handlers(realm, database, realm.trust())
        users = Users(realm, database, realm.clock, handlers, as_client(GATEWAY))
        await users.register()
        yield users
    finally:
        await database.close()
