"""A shop for each test, on each kind of database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.services.orders.shop import Shop, open_shop


@pytest_asyncio.fixture
async def shop(amqp_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(amqp_url, database_url, tmp_path / "state") as shop:
        yield shop
