"""Two real brokers, the link between them that `docs/scaling.md` describes, and a cut of it."""

import asyncio
import re
import secrets
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from services.contracts.topology import USER_SERVICE
from services.local.command import run
from services.local.container import BrokerContainer
from services.local.definitions import generate_logins, stack_definitions
from services.local.installation import find_installation
from services.local.logins import OPERATOR, Login
from services.local.node import PrivateNode
from services.local.ports import LOOPBACK
from tests.brokers import Kind
from tests.chaos.proxy import Proxy
from tests.engine import RABBITMQ_IMAGE, UnavailableError, require_image

PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
ISSUERS: Final = "at the issuer's cluster"
FAR: Final = "amqps://shop-link:$PASSWORD@issuer.example"
"""The address that the page makes up."""

COMMAND_WITHIN: Final = 60.0


class Side(Protocol):
    """One of the two brokers."""

    @property
    def port(self) -> int:
        """Where it listens on this machine."""

    async def control(self, *arguments: str, tool: str = "rabbitmqctl") -> None:
        """Run one of its tools."""


class Link(Protocol):
    """The way from the shop's broker to the issuer's."""

    @property
    def address(self) -> str:
        """Host and port of the issuer's broker, as the shop's sees it."""

    async def cut(self) -> None:
        """Let nothing through any more."""

    async def mend(self) -> None:
        """Let all through again."""


@dataclass
class Split:
    """The broker of a whole stack (`services.local.broker.StackBroker`), which is two."""

    issuers: Side
    shops: Side
    link: Link
    logins: dict[str, Login]

    process = None
    description = "two brokers with a link"

    def url(self, login: str) -> str:
        """The user service is at the one, everybody else at the other."""
        side = self.issuers if login == USER_SERVICE else self.shops
        return self.logins[login].url(LOOPBACK, side.port)

    async def make_link(self) -> None:
        """Type what the page says."""
        password = secrets.token_hex(24)  # none that reads as an option
        far = f"amqp://shop-link:{password}@{self.link.address}"
        for where, line in page_commands():
            tool, *words = shlex.split(line)
            filled = [word.replace(FAR, far).replace("$PASSWORD", password) for word in words]
            side = self.issuers if where == ISSUERS else self.shops
            await side.control(*filled, tool=tool)

    async def stop(self) -> None:
        """The fixture ends it."""

    async def discard(self) -> None:
        """Likewise."""

    async def kill(self) -> None:
        """Likewise."""


def page_commands() -> Iterator[tuple[str, str]]:
    """Each command of the page's section, and where it is typed."""
    section = PAGE.read_text(encoding="utf-8").partition("## Splitting clusters\n")[2]
    for block in re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL):
        where, *lines = block.splitlines()
        yield from ((where.removeprefix("# "), line) for line in lines)


@asynccontextmanager
async def running_split(kind: Kind, folder: Path) -> AsyncIterator[Split]:
    """Two brokers with the topology, and the link that the page describes.

    Raises:
        UnavailableError: they cannot be had on this machine.
    """
    logins = generate_logins()
    at_the_issuers = {name: logins[name] for name in (USER_SERVICE, OPERATOR)}
    at_the_shop = {name: login for name, login in logins.items() if name != USER_SERVICE}
    open_pair = _private_nodes if kind == "private-node" else _containers
    async with open_pair(folder, at_the_issuers, at_the_shop) as (issuers, shops, link):
        split = Split(issuers, shops, link, logins)
        await split.make_link()
        yield split


Pair = tuple[Side, Side, Link]


@asynccontextmanager
async def _private_nodes(
    folder: Path, issuers: dict[str, Login], shops: dict[str, Login]
) -> AsyncIterator[Pair]:
    installation = find_installation()
    if installation is None or not installation.new_enough:
        raise UnavailableError("rabbitmq-server 3.10 or newer is not installed")
    near = PrivateNode(installation, folder / "shop", stack_definitions(shops))
    far = PrivateNode(installation, folder / "issuer", stack_definitions(issuers))
    async with AsyncExitStack() as running:
        for node, logins in ((near, shops), (far, issuers)):
            running.push_async_callback(node.kill)
            await node.start(logins[OPERATOR])
        proxy = Proxy(lambda: (LOOPBACK, far.port))
        await proxy.start()
        running.push_async_callback(proxy.stop)
        yield far, near, _ProxyLink(proxy)


class _ProxyLink:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.address = f"{LOOPBACK}:{proxy.port}"

    async def cut(self) -> None:
        self._proxy.stall()
        self._proxy.cut()

    async def mend(self) -> None:
        self._proxy.cut()
        self._proxy.resume()


class _Container(BrokerContainer):
    async def control(self, *arguments: str, tool: str = "rabbitmqctl") -> None:
        await _docker("exec", "--user", "rabbitmq", self.name, tool, *arguments)


@asynccontextmanager
async def _containers(
    folder: Path, issuers: dict[str, Login], shops: dict[str, Login]
) -> AsyncIterator[Pair]:
    await asyncio.to_thread(require_image, RABBITMQ_IMAGE)
    near = _Container(folder / "shop", stack_definitions(shops))
    far = _Container(folder / "issuer", stack_definitions(issuers))
    async with AsyncExitStack() as running:
        network = f"{near.name}-link"
        await _docker("network", "create", network)
        running.push_async_callback(_docker, "network", "rm", network)
        for container, logins in ((near, shops), (far, issuers)):
            running.push_async_callback(container.forget)
            running.push_async_callback(container.kill)
            await container.start(logins[OPERATOR])
        link = _NetworkLink(network, far.name)
        await _docker("network", "connect", network, near.name)
        await link.mend()
        yield far, near, link


class _NetworkLink:
    """A network of its own; the ports that the tests use are published on another."""

    def __init__(self, network: str, container: str) -> None:
        self._network = network
        self._container = container
        self.address = "issuer:5672"

    async def cut(self) -> None:
        await _docker("network", "disconnect", self._network, self._container)

    async def mend(self) -> None:
        await _docker("network", "connect", "--alias", "issuer", self._network, self._container)


async def _docker(*arguments: str) -> None:
    done = await run("docker", *arguments, within=COMMAND_WITHIN)
    assert done.succeeded, f"docker {arguments[0]}: {done.output}"
