"""One running order service for all attacks: it must survive each of them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.attacks.field import Field, open_field
from tests.brokers import Brokers


@pytest_asyncio.fixture(scope="module")
async def field(brokers: Brokers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Field]:
    """On the best broker to be had, in a virtual host of its own."""
    broker = await brokers.any()
    async with (
        broker.fresh_vhost() as vhost,
        open_field(broker.url(vhost), tmp_path_factory.mktemp("field")) as running,
    ):
        yield running
