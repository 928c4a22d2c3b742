"""One stack for the tests that leave it as it is, and one of its own for each that does not."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import httpx
import pytest
import pytest_asyncio

from tests.brokers import Brokers, VhostBroker
from tests.services.gateway.stack import PATIENCE, Stack, User, open_stack


@pytest_asyncio.fixture(scope="session")
async def stack(brokers: Brokers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """All three services, shared by the session, each with its own login and rights."""
    broker = await brokers.any()
    folder = tmp_path_factory.mktemp("gateway")
    async with broker.stack_vhost() as vhost, open_stack(folder, vhost.url) as running:
        yield running


class OpenStack(Protocol):
    async def __call__(self, *client_ids: str, **gateway_settings: object) -> Stack: ...


@pytest_asyncio.fixture
async def own_stack(stack_broker: VhostBroker, tmp_path: Path) -> AsyncIterator[OpenStack]:
    """Opens a stack that the test may harm, with the named services or all three.

    Each service has its own login, with the rights that it has in production.
    """
    async with AsyncExitStack() as opened:

        async def open_it(*client_ids: str, **gateway_settings: object) -> Stack:
            return await opened.enter_async_context(
                open_stack(tmp_path, stack_broker.url, *client_ids, **gateway_settings)
            )

        yield open_it


@pytest_asyncio.fixture
async def bare_stack(amqp_url: str, tmp_path: Path) -> AsyncIterator[OpenStack]:
    """Likewise, on a broker with nothing but what the services declare themselves."""
    async with AsyncExitStack() as opened:

        async def open_it(*client_ids: str, **gateway_settings: object) -> Stack:
            return await opened.enter_async_context(
                open_stack(tmp_path, lambda _: amqp_url, *client_ids, **gateway_settings)
            )

        yield open_it


@pytest_asyncio.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has not signed in."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as client:
        yield client


@pytest_asyncio.fixture
async def ada(stack: Stack) -> AsyncIterator[User]:
    """A user of the shared stack, new to each test."""
    async with stack.user() as user:
        yield user
