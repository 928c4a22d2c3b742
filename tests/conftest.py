"""What every test may ask for: a real broker and a real database, empty and its own.

`amqp_url` is a fresh virtual host on the best broker to be had; `conformance_amqp_url` runs
the test on each kind of broker; `database_url` on each kind of database.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import brokers as broker_kinds
from tests import databases as database_kinds
from tests.brokers import Brokers, RunningBroker, VhostBroker
from tests.databases import Postgres
from tests.engine import UnavailableError


@pytest_asyncio.fixture(scope="session")
async def brokers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Brokers]:
    """The session's brokers; nothing runs until one is asked for."""
    session = Brokers(tmp_path_factory.mktemp("broker"))
    yield session
    await session.close()


@pytest_asyncio.fixture
async def broker(brokers: Brokers) -> RunningBroker:
    """The best broker to be had: RabbitMQ 4 in a container, else a private node."""
    return await brokers.any()


@pytest_asyncio.fixture
async def vhost(broker: RunningBroker) -> AsyncIterator[str]:
    """An empty virtual host of `broker`."""
    async with broker.fresh_vhost() as name:
        yield name


@pytest_asyncio.fixture
async def amqp_url(broker: RunningBroker, vhost: str) -> str:
    """The URL of `vhost`, for a login that may do anything there."""
    return broker.url(vhost)


@pytest_asyncio.fixture
async def stack_broker(broker: RunningBroker) -> AsyncIterator[VhostBroker]:
    """A virtual host with the topology, and each service's own login with its rights."""
    async with broker.stack_vhost() as ready:
        yield ready


@pytest_asyncio.fixture(params=broker_kinds.KINDS)
async def conformance_broker(request: pytest.FixtureRequest, brokers: Brokers) -> RunningBroker:
    """Each kind of broker in turn; one that cannot be had is skipped, not both."""
    try:
        return await brokers.get(request.param)
    except UnavailableError as error:
        await brokers.any()
        pytest.skip(f"no {request.param}: {error}")


@pytest_asyncio.fixture
async def conformance_vhost(conformance_broker: RunningBroker) -> AsyncIterator[str]:
    """An empty virtual host of `conformance_broker`."""
    async with conformance_broker.fresh_vhost() as name:
        yield name


@pytest_asyncio.fixture
async def conformance_amqp_url(conformance_broker: RunningBroker, conformance_vhost: str) -> str:
    """The URL of `conformance_vhost`, for a login that may do anything there."""
    return conformance_broker.url(conformance_vhost)


@pytest_asyncio.fixture(scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    """The session's PostgreSQL; nothing runs until a database is asked for."""
    server = Postgres()
    yield server
    await server.close()


@pytest_asyncio.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """An empty PostgreSQL database; skips where there is none to be had."""
    try:
        async with postgres.fresh_database() as url:
            yield url
    except UnavailableError as error:
        pytest.skip(f"no PostgreSQL: {error}")


@pytest_asyncio.fixture(params=database_kinds.KINDS)
async def database_url(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path
) -> AsyncIterator[str]:
    """An empty database of each kind in turn; PostgreSQL is skipped where there is none."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
        return
    try:
        async with postgres.fresh_database() as url:
            yield url
    except UnavailableError as error:
        pytest.skip(f"no PostgreSQL: {error}")
