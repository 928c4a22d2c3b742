"""The whole system as processes, and in it the clients that docs/integrate.md tells how to list."""

import asyncio
import re
import secrets
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from services.demo.client import Account, ShopClient
from services.local.logins import Login
from services.local.stack import LocalStack
from services.local.trust import make_local_trust
from tests.brokers import Brokers, VhostBroker
from tests.examples.node import IMPORTER

PAGE = Path(__file__).parents[2] / "docs" / "integrate.md"
CARNET = [sys.executable, "-c", "from services.cli.main import main; main()"]
SignUp = Callable[[str], Awaitable[Account]]


def commands_of_the_page(program: str) -> list[list[str]]:
    """Each call of `program` in the page's shell blocks, as a shell would split it."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


@pytest_asyncio.fixture(scope="session")
async def vhost_broker(brokers: Brokers) -> AsyncIterator[VhostBroker]:
    """A broker where each service has its own login with its own rights."""
    async with (await brokers.any()).stack_vhost() as ready:
        yield ready


@pytest_asyncio.fixture(scope="session")
async def importer(vhost_broker: VhostBroker) -> AsyncIterator[Login]:
    """The importer's login, with the rights that the page gives it."""
    login = Login.generate(IMPORTER)
    broker = vhost_broker.broker
    for _, action, *arguments in commands_of_the_page("rabbitmqctl"):
        vhost = [] if action == "add_user" else ["-p", vhost_broker.vhost]
        told = [login.password if each == "$password" else each for each in arguments]
        await broker.control(action, *vhost, *told)
    yield login
    await broker.control("delete_user", IMPORTER)


@pytest_asyncio.fixture(scope="session")
async def stack(
    vhost_broker: VhostBroker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalStack]:
    """Three services, and a fourth client that the trust root lists: the importer."""
    state = tmp_path_factory.mktemp("stack")
    make_local_trust(state)
    for _, *arguments in commands_of_the_page("carnet"):
        registering = await asyncio.create_subprocess_exec(
            *CARNET, *arguments, "--state", str(state)
        )
        assert await registering.wait() == 0
    async with LocalStack(state, broker=vhost_broker) as ready:
        yield ready


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
