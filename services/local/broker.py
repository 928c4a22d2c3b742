"""Which broker the local stack uses: the one that is given, or one of its own.

In this order: the URL that is given; a private node of the RabbitMQ that is installed; a
container; a private node of a RabbitMQ that we install, where we may.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from messaging.broker import Broker
from messaging.probe import log_in
from messaging.topology import Topology, declare
from services.contracts.topology import whole_topology
from services.declared import Declared, topology_with
from services.local import container, packages
from services.local.child import Child
from services.local.container import BrokerContainer
from services.local.definitions import generate_logins, stack_definitions
from services.local.errors import NoBrokerError
from services.local.installation import OLDEST_TEXT, Installation, find_installation
from services.local.logins import OPERATOR, Login
from services.local.node import PrivateNode
from services.local.ports import LOOPBACK
from services.local.token_login import TokenLogin

GIVEN_WITHIN: Final = 10.0
COMPARED_WITHIN: Final = 60.0

Say = Callable[[str], None]
"""Tells the person in front of the stack one line about what is being done for them."""


class StackBroker(Protocol):
    """A running broker, and how each client logs in there."""

    @property
    def description(self) -> str:
        """What to call it in front of people."""

    @property
    def process(self) -> Child | None:
        """What ends when the broker does; none where it is not ours."""

    def url(self, login: str) -> str:
        """The AMQP URL of a client, or of the operator."""

    async def stop(self) -> None:
        """End it; it keeps what it holds."""

    async def discard(self) -> None:
        """End it, with all that it holds."""

    async def kill(self) -> None:
        """End it at once; it keeps what it holds."""


class GivenBroker:
    """Somebody else's: all log in alike, and it outlives us."""

    process = None

    def __init__(self, url: str) -> None:
        self.description = "the given broker"
        self._url = url

    def url(self, _login: str) -> str:
        return self._url

    async def stop(self) -> None:
        """It is not ours to stop."""

    async def discard(self) -> None:
        """Nor to empty."""

    async def kill(self) -> None:
        """Nor to kill."""


class OwnBroker:
    """Our own, with a login for each client, or for none where all come with tokens."""

    def __init__(
        self, description: str, server: PrivateNode | BrokerContainer, logins: Mapping[str, Login]
    ) -> None:
        self.description = description
        self._server = server
        self._logins = logins

    @property
    def process(self) -> Child | None:
        return self._server.process

    def url(self, login: str) -> str:
        if login in self._logins:
            return self._logins[login].url(LOOPBACK, self._server.port)
        return f"amqp://{login}@{LOOPBACK}:{self._server.port}/%2F"

    async def stop(self) -> None:
        await self._server.stop()

    async def discard(self) -> None:
        await self._server.kill()
        await self._server.forget()

    async def kill(self) -> None:
        await self._server.kill()


async def open_broker(
    folder: Path,
    *,
    given_url: str | None,
    tokens: TokenLogin | None,
    say: Say,
    shards: int = 1,
    declared: Declared = (),
) -> StackBroker:
    """Have a broker that runs and takes our logins.

    tokens: what our own is to know so that the services' tokens log in; None for passwords.
        Whether a given one knows it, the services will tell.
    shards: of the order consumer's work, on one of our own.
    declared: services of one's own, which get logins and queues there too.

    Raises:
        BrokerError: the given one is not there, or refuses the login.
        NoBrokerError: there is none, and none can be made.
        NodeStartError: our own did not come up.
        TopologyMismatchError: our own holds objects of an earlier version, declared otherwise.
        StateInUseError, StateUnusableError: `folder` cannot be ours.
    """
    if given_url is not None:
        if tokens is None:
            await log_in(given_url, within=GIVEN_WITHIN)
        return GivenBroker(given_url)
    installation = await find_means(say)
    logins = generate_logins(declared) if tokens is None else {OPERATOR: Login.generate(OPERATOR)}
    definitions = stack_definitions(logins, shards=shards, declared=declared)
    if installation is None:
        server: PrivateNode | BrokerContainer = BrokerContainer(folder, definitions, tokens=tokens)
        description = f"a container of {container.IMAGE}"
    else:
        server = PrivateNode(installation, folder, definitions, tokens=tokens)
        description = f"a private node of {installation}"
    await server.start(logins[OPERATOR])
    broker = OwnBroker(description, server, logins)
    try:
        topology = topology_with(whole_topology(shards), declared)
        await make_sure(broker.url(OPERATOR), topology, within=COMPARED_WITHIN)
    except BaseException:
        await broker.kill()
        raise
    return broker


async def make_sure(url: str, topology: Topology, *, within: float) -> None:
    """Make what is missing, and refuse what is declared otherwise.

    A broker that starts with definitions keeps what it held, with whatever arguments, and says
    nothing of it. The services cannot see that: their logins may declare nothing.

    Raises:
        BrokerError, TopologyError: as `messaging.topology.declare`.
    """
    broker = Broker(url, name=OPERATOR)
    try:
        await broker.start(within)
        await declare(broker, topology, deadline=within)
    finally:
        await broker.close(within)


async def find_means(say: Say) -> Installation | None:
    """What a broker of our own can be run with: an installation, or (None) a container.

    What can be fetched or installed for it, is.

    Raises:
        NoBrokerError: nothing, and nothing can be had.
    """
    installed = find_installation()
    if installed is not None and installed.new_enough:
        return installed
    if await container.engine_answers():
        if await container.image_is_here():
            return None
        say(f"fetching the image {container.IMAGE}")
        if await container.pull_image():
            return None
    if installed is None and await packages.may_install():
        say("installing rabbitmq-server from this machine's packages; its own node stays off")
        await packages.install_rabbitmq()
        installed = find_installation()
        if installed is not None and installed.new_enough:
            return installed
    found = f" ({installed} is too old)" if installed else ""
    raise NoBrokerError(
        f"no RabbitMQ{found}: install rabbitmq-server {OLDEST_TEXT} or newer, start Docker, or "
        "set CARNET_AMQP_URL to a broker of yours"
    )
