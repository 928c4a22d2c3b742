"""Real brokers for tests: one of each kind a session, a virtual host of its own each test."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import httpx
import pytest
from testcontainers.community.rabbitmq import RabbitMqContainer

from services.declared import Declared
from services.local.definitions import generate_logins, operator_definitions, stack_definitions
from services.local.errors import LocalError
from services.local.installation import find_installation
from services.local.logins import OPERATOR, Login
from services.local.node import PrivateNode
from services.local.ports import LOOPBACK
from tests.engine import RABBITMQ_IMAGE, UnavailableError, require_image

Kind = Literal["private-node", "container"]
KINDS: tuple[Kind, ...] = ("container", "private-node")


@dataclass(frozen=True)
class RunningBroker:
    """A broker with its management API, and the login that may do anything there."""

    kind: Kind
    host: str
    port: int
    management_port: int
    control: Callable[..., Awaitable[None]]
    """Runs `rabbitmqctl` with these arguments."""
    logins: Mapping[str, Login]
    """One for each service, with rights where `stack_vhost` gave them; and the operator's."""
    metrics_port: int | None = None
    """Of its own metrics, where they are on (`tests/telemetry/test_queues.py`)."""

    @property
    def operator(self) -> Login:
        return self.logins[OPERATOR]

    def url(self, vhost: str, login: Login | None = None) -> str:
        """The AMQP URL of a virtual host, for the operator unless another login is given."""
        return (login or self.operator).url(self.host, self.port, vhost)

    def management(self) -> httpx.AsyncClient:
        """A client of the management API (`GET /queues/{vhost}/{name}` and so on)."""
        return httpx.AsyncClient(
            base_url=f"http://{self.host}:{self.management_port}/api",
            auth=(self.operator.name, self.operator.password),
            timeout=30,
        )

    @asynccontextmanager
    async def fresh_vhost(self) -> AsyncIterator[str]:
        """The name of a new virtual host, deleted with all that is in it afterwards."""
        vhost = f"test-{uuid.uuid4()}"
        async with self.management() as api:
            (await api.put(f"/vhosts/{vhost}")).raise_for_status()
            permissions = {"configure": ".*", "write": ".*", "read": ".*"}
            answer = await api.put(f"/permissions/{vhost}/{self.operator.name}", json=permissions)
            answer.raise_for_status()
            try:
                yield vhost
            finally:
                (await api.delete(f"/vhosts/{quote(vhost)}")).raise_for_status()

    @asynccontextmanager
    async def stack_vhost(
        self, *, shards: int = 1, declared: Declared = ()
    ) -> AsyncIterator["VhostBroker"]:
        """A new virtual host with the topology, and each service's login with its rights.

        declared: services of one's own, which are there as well.
        """
        own = {each.client: Login.generate(each.client) for each in declared}
        logins = {**self.logins, **own}
        async with self.fresh_vhost() as vhost, self.management() as api:
            definitions = stack_definitions(logins, vhost, shards=shards, declared=declared)
            (await api.post("/definitions", json=definitions)).raise_for_status()
            yield VhostBroker(self, vhost, logins)
            for client in own:
                (await api.delete(f"/users/{client}")).raise_for_status()


@dataclass(frozen=True)
class VhostBroker:
    """One virtual host as the broker of a whole stack (`services.local.broker.StackBroker`)."""

    broker: RunningBroker
    vhost: str
    logins: Mapping[str, Login]
    process = None

    @property
    def description(self) -> str:
        return f"{self.vhost} of the tests' {self.broker.kind}"

    def url(self, login: str) -> str:
        return self.broker.url(self.vhost, self.logins[login])

    async def stop(self) -> None:
        """The fixture ends it."""

    async def discard(self) -> None:
        """Likewise."""

    async def kill(self) -> None:
        """Likewise."""


class Brokers:
    """The brokers of one test session, each started when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[Kind, RunningBroker | UnavailableError] = {}
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()

    async def get(self, kind: Kind) -> RunningBroker:
        """The broker of this kind.

        Raises:
            UnavailableError: it cannot be had on this machine.
        """
        start: dict[Kind, Callable[[], Awaitable[RunningBroker]]] = {
            "private-node": self._start_private_node,
            "container": self._start_container,
        }
        async with self._starting:
            if kind not in self._running:
                try:
                    self._running[kind] = await start[kind]()
                except UnavailableError as error:
                    self._running[kind] = error
        broker = self._running[kind]
        if isinstance(broker, UnavailableError):
            raise broker
        return broker

    async def any(self) -> RunningBroker:
        """The container where it can be had, else the private node; else the session ends."""
        reasons = []
        for kind in KINDS:
            try:
                return await self.get(kind)
            except UnavailableError as error:
                reasons.append(f"{kind}: {error}")
        pytest.exit(
            "no RabbitMQ for the tests: install rabbitmq-server 3.10 or newer, or start a "
            f"container engine ({'; '.join(reasons)})",
            returncode=1,
        )

    async def close(self) -> None:
        """Stop what was started."""
        await self._stack.aclose()

    async def _start_private_node(self) -> RunningBroker:
        installation = find_installation()
        if installation is None or not installation.new_enough:
            raise UnavailableError("rabbitmq-server 3.10 or newer is not installed")
        logins = generate_logins()
        operator = logins[OPERATOR]
        definitions = operator_definitions(operator)
        node = PrivateNode(installation, self._folder / "node", definitions, management=True)
        try:
            await node.start(operator)
        except LocalError as error:
            raise UnavailableError(str(error)) from error
        self._stack.push_async_callback(node.kill)
        return RunningBroker(
            "private-node", LOOPBACK, node.port, node.management_port, node.control, logins
        )

    async def _start_container(self) -> RunningBroker:
        await asyncio.to_thread(require_image, RABBITMQ_IMAGE)
        logins = generate_logins()
        operator = logins[OPERATOR]
        container = RabbitMqContainer(
            RABBITMQ_IMAGE, username=operator.name, password=operator.password
        ).with_exposed_ports(15672, 15692)
        await asyncio.to_thread(container.start)
        self._stack.push_async_callback(asyncio.to_thread, container.stop)

        async def control(*arguments: str) -> None:
            said = await asyncio.to_thread(container.exec, ["rabbitmqctl", *arguments])
            assert said.exit_code == 0, said.output

        return RunningBroker(
            "container",
            container.get_container_host_ip(),
            int(container.get_exposed_port(5672)),
            int(container.get_exposed_port(15672)),
            control,
            logins,
            int(container.get_exposed_port(15692)),
        )
