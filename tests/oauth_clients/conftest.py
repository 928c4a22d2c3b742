"""A stack with the three kinds of client: an app, a device, a service."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.brokers import Brokers
from tests.services.gateway.browser import add_client
from tests.services.gateway.stack import Stack, open_stack


@pytest_asyncio.fixture(scope="session")
async def stack(brokers: Brokers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    broker = await brokers.any()
    folder = tmp_path_factory.mktemp("oauth-clients")
    unbound = {"lockout": False, "registrations_per_origin": 0}
    async with (
        broker.stack_vhost() as vhost,
        open_stack(folder, vhost.url, user_settings=unbound) as running,
    ):
        await add_client(running)
        await add_client(running, "tv", title="TV", redirect_uris=[], devices=True)
        yield running
