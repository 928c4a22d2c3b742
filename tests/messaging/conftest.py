"""A connected broker with the market's topology, and plain access beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.publisher import Publisher
from messaging.topology import declare
from tests.brokers import Brokers
from tests.messaging.counter import Counter, open_counter
from tests.messaging.market import GATEWAY, TOPOLOGY
from tests.messaging.raw import WAIT, Raw, raw_channel
from tests.messaging.stall import Stall, open_stall
from tests.messaging.wire import Wire, wire_to


@asynccontextmanager
async def started_broker(url: str) -> AsyncIterator[Broker]:
    broker = Broker(url, name="test")
    await broker.start(WAIT)
    try:
        await declare(broker, TOPOLOGY, deadline=WAIT)
        yield broker
    finally:
        await broker.close(WAIT)


@pytest_asyncio.fixture
async def wire(amqp_url: str) -> AsyncIterator[Wire]:
    """The way that everything but `raw` takes to the broker."""
    async with wire_to(amqp_url) as wire:
        yield wire


@pytest_asyncio.fixture
async def link(wire: Wire) -> AsyncIterator[Broker]:
    """A started broker, with the market's topology declared."""
    async with started_broker(wire.url) as broker:
        yield broker


@pytest_asyncio.fixture
async def publisher(link: Broker) -> Publisher:
    return Publisher(link, client_id=GATEWAY)


@pytest_asyncio.fixture
async def raw(amqp_url: str, link: Broker) -> AsyncIterator[Raw]:
    """Plain access to the broker, once the topology is there."""
    del link
    async with raw_channel(amqp_url) as raw:
        yield raw


@pytest_asyncio.fixture
async def counter(link: Broker, publisher: Publisher) -> AsyncIterator[Counter]:
    """The market answers, and the gateway can ask, over one connection."""
    async with open_counter(link, publisher) as counter:
        yield counter


@pytest_asyncio.fixture
async def stall(
    link: Broker, publisher: Publisher, raw: Raw, tmp_path: Path
) -> AsyncIterator[Stall]:
    """A stall on SQLite, not yet consuming."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'stall.db'}"
    async with open_stall(link, publisher, raw, url) as stall:
        yield stall


@pytest_asyncio.fixture
async def any_stall(
    link: Broker, publisher: Publisher, raw: Raw, database_url: str
) -> AsyncIterator[Stall]:
    """A stall on each kind of database in turn, not yet consuming."""
    async with open_stall(link, publisher, raw, database_url) as stall:
        yield stall


@pytest_asyncio.fixture(scope="session")
async def standing_url(brokers: Brokers) -> AsyncIterator[str]:
    """A virtual host for all the tests that leave a consumer as they found it."""
    broker = await brokers.any()
    async with broker.fresh_vhost() as vhost:
        yield broker.url(vhost)


@pytest_asyncio.fixture(scope="session")
async def standing_stall(
    standing_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stall]:
    url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('standing') / 'stall.db'}"
    async with (
        started_broker(standing_url) as link,
        raw_channel(standing_url) as raw,
        open_stall(link, Publisher(link, client_id=GATEWAY), raw, url) as stall,
    ):
        await stall.open()
        yield stall


@pytest_asyncio.fixture
async def standing(standing_stall: Stall) -> Stall:
    """A stall that consumes already, emptied of what other tests left."""
    await standing_stall.empty()
    return standing_stall
