"""One stack for the tests that leave it as it is, and one of its own for each that does not."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
import pytest_asyncio

from tests.brokers import Brokers, VhostBroker
from tests.services.gateway.stack import PATIENCE, Stack, User, open_stack, sign_in


@pytest_asyncio.fixture(scope="session")
async def stack(brokers: Brokers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """All three services, shared by the session, each with its own login and rights.

    Its tests all come from one address, which may fail and register as often as it wants.
    """
    broker = await brokers.any()
    folder = tmp_path_factory.mktemp("gateway")
    unbound = {"lockout": False, "registrations_per_origin": 0}
    async with (
        broker.stack_vhost() as vhost,
        open_stack(folder, vhost.url, user_settings=unbound) as running,
    ):
        yield running


class OpenStack(Protocol):
    async def __call__(self, *client_ids: str, **settings: Any) -> Stack: ...


@pytest_asyncio.fixture
async def own_stack(stack_broker: VhostBroker, tmp_path: Path) -> AsyncIterator[OpenStack]:
    """Opens a stack that the test may harm, with the named services or all three.

    Each service has its own login, with the rights that it has in production.
    """
    async with AsyncExitStack() as opened:

        async def open_it(*client_ids: str, **settings: Any) -> Stack:
            return await opened.enter_async_context(
                open_stack(tmp_path, stack_broker.url, *client_ids, **settings)
            )

        yield open_it


@pytest_asyncio.fixture
async def bare_stack(amqp_url: str, tmp_path: Path) -> AsyncIterator[OpenStack]:
    """Likewise, on a broker with nothing but what the services declare themselves."""
    async with AsyncExitStack() as opened:

        async def open_it(*client_ids: str, **settings: Any) -> Stack:
            return await opened.enter_async_context(
                open_stack(tmp_path, lambda _: amqp_url, *client_ids, **settings)
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


RENEW_AFTER = 300
"""Seconds after which the shared user signs in again: access tokens live for 900."""


@dataclass
class Shared:
    """A user whose name and tokens tests share that leave the session as it is."""

    name: str
    user: User | None = None


@pytest_asyncio.fixture(scope="session")
async def shared(stack: Stack) -> AsyncIterator[Shared]:
    async with stack.user() as user:
        yield Shared(user.name)


@pytest_asyncio.fixture
async def anyone(stack: Stack, shared: Shared) -> AsyncIterator[User]:
    """Somebody who has signed in, with orders perhaps and a client of their own."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as client:
        if shared.user is None or shared.user.claims.iat < time.time() - RENEW_AFTER:
            shared.user = await sign_in(client, shared.name)
        client.headers["Authorization"] = f"Bearer {shared.user.tokens['access_token']}"
        yield replace(shared.user, http=client)
