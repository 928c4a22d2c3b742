"""The whole system as processes: started once for all end-to-end tests."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import aio_pika
import pytest
import pytest_asyncio

from services.contracts.topology import ORDERS_COMMANDS
from services.demo.client import Account, ShopClient
from services.local.logins import OPERATOR
from services.local.stack import LocalStack

SignUp = Callable[[str], Awaitable[Account]]


@pytest_asyncio.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    """Three services and a broker of their own."""
    async with LocalStack(tmp_path_factory.mktemp("stack"), throwaway=True) as running:
        yield running


@pytest_asyncio.fixture
async def shop(stack: LocalStack) -> AsyncIterator[ShopClient]:
    """A client of the running gateway."""
    async with ShopClient(stack.gateway_url) as client:
        yield client


@pytest_asyncio.fixture
async def sign_up(shop: ShopClient) -> SignUp:
    """Register and sign in somebody whose name begins so."""

    async def sign_up(who: str) -> Account:
        name, password = f"{who}-{secrets.token_hex(6)}", secrets.token_urlsafe(16)
        await shop.register(name, password)
        return await shop.sign_in(name, password)

    return sign_up


@pytest_asyncio.fixture
async def count_dead(stack: LocalStack) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """How many dead letters lie on the broker."""
    connection = await aio_pika.connect(stack.amqp_url(OPERATOR))
    async with connection, connection.channel() as channel:

        async def count() -> int:
            queue = await channel.declare_queue(ORDERS_COMMANDS.dead, passive=True)
            return queue.declaration_result.message_count or 0

        yield count
