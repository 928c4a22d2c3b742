"""The whole system as processes, the console among them, with one service of one's own declared."""

import shutil
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from messaging.database import open_database
from services.demo.client import Account, ShopClient
from services.local.stack import LocalStack
from services.users.acts import Asker
from services.users.assembly import Register, open_register
from services.users.passwords import Passwords
from tests.e2e.letterbox import Letterbox, open_letterbox
from tests.services.console.desk import PASSWORD, PATIENCE, Desk, signed_in

BILLING = Path(__file__).parents[3] / "examples" / "billing" / "service.toml"


@pytest_asyncio.fixture(scope="session")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    """Three services, the console, and a broker of their own."""
    state = tmp_path_factory.mktemp("watched") / "state"
    (state / "services").mkdir(parents=True)
    shutil.copy(BILLING, state / "services" / "billing.toml")
    async with LocalStack(state, throwaway=True, console=True) as stack:
        yield stack


@pytest_asyncio.fixture(scope="session")
async def letterbox(
    watched: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Letterbox]:
    async with open_letterbox(watched, tmp_path_factory.mktemp("letters")) as box:
        yield box


@pytest_asyncio.fixture
async def box(letterbox: Letterbox) -> Letterbox:
    """No letter lies there yet."""
    await letterbox.empty()
    return letterbox


@asynccontextmanager
async def register_of(stack: LocalStack) -> AsyncIterator[Register]:
    """Accounts and sessions, as commands on the user service's machine see them."""
    database = open_database(f"sqlite+aiosqlite:///{stack.state / 'data' / 'users.db'}")
    try:
        yield open_register(database, Passwords(), clock=time.time)
    finally:
        await database.close()


async def make_operator(stack: LocalStack) -> str:
    """The name of a new account with the role."""
    name = f"operator-{uuid.uuid4().hex[:12]}"
    async with register_of(stack) as register:
        await register.accounts.add(Asker.operator(), name, PASSWORD, ["operator"])
    return name


@pytest_asyncio.fixture
async def http(watched: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """The console, as anybody reaches it."""
    url = watched.services["console"].url
    async with httpx.AsyncClient(base_url=f"{url}/console/api", timeout=PATIENCE) as client:
        yield client


@pytest_asyncio.fixture
async def operator(watched: LocalStack) -> str:
    """The name of an operator, whose password is `PASSWORD`."""
    return await make_operator(watched)


@pytest_asyncio.fixture
async def desk(http: httpx.AsyncClient, operator: str) -> Desk:
    """The console, as an operator sees it who has signed in."""
    return await signed_in(http, operator)


@pytest_asyncio.fixture
async def shop(watched: LocalStack) -> AsyncIterator[ShopClient]:
    async with ShopClient(watched.gateway_url) as client:
        yield client


@pytest_asyncio.fixture
async def ada(shop: ShopClient) -> Account:
    """A customer who has signed in at the gateway."""
    name = f"ada-{uuid.uuid4().hex[:12]}"
    await shop.register(name, PASSWORD)
    return await shop.sign_in(name, PASSWORD)
