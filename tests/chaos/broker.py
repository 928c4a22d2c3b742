"""The broker under the whole stack: one node or a cluster, killed, hung, and short of memory."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.local.command import run
from services.local.container import BrokerContainer
from services.local.definitions import generate_logins, stack_definitions
from services.local.installation import find_installation
from services.local.logins import OPERATOR
from services.local.node import PrivateNode
from services.local.ports import LOOPBACK
from tests.clusters import NODES, Cluster

CONTROL_WITHIN: Final = 60.0
ENOUGH: Final = "0.6"
NONE: Final = "0.00000001"


class ChaosBroker(ABC):
    """RabbitMQ, ours alone."""

    description: str
    nodes: int

    def __init__(self) -> None:
        self._logins = generate_logins()

    @abstractmethod
    async def start(self) -> None:
        """Have every node up."""

    @abstractmethod
    async def discard(self) -> None:
        """End it, with all that it holds."""

    @abstractmethod
    def address(self, node: int) -> tuple[str, int]:
        """Where a node listens now."""

    async def raise_alarm(self) -> None:
        """Let it find itself short of memory: it reads no more from who publishes."""
        await self._rabbitmqctl("set_vm_memory_high_watermark", NONE)

    async def clear_alarm(self) -> None:
        await self._rabbitmqctl("set_vm_memory_high_watermark", ENOUGH)

    def url(self, login: str, ports: Sequence[int] = ()) -> str:
        """The AMQP URLs of a client, one for each node; by way of `ports` where some are given."""
        ports = ports or [self.address(node)[1] for node in range(self.nodes)]
        return " ".join(self._logins[login].url(LOOPBACK, port) for port in ports)

    @abstractmethod
    async def _rabbitmqctl(self, *command: str) -> None:
        """Run it at one node."""


class SingleBroker(ChaosBroker):
    """A private node where RabbitMQ is installed, else a container."""

    nodes = 1

    def __init__(self, folder: Path) -> None:
        super().__init__()
        definitions = stack_definitions(self._logins)
        installation = find_installation()
        self._server: PrivateNode | BrokerContainer
        if installation is not None and installation.new_enough:
            self._server = PrivateNode(installation, folder, definitions)
            self.description = f"a private node of {installation}"
        else:
            self._server = BrokerContainer(folder, definitions)
            self.description = "a container"
        self._port = 0

    async def start(self) -> None:
        await self._server.start(self._logins[OPERATOR])
        self._port = self._server.port

    async def kill(self) -> None:
        """End it as a power cut would; `start` brings it back with what it held."""
        await self._server.kill()

    async def discard(self) -> None:
        await self._server.kill()
        await self._server.forget()

    def address(self, node: int) -> tuple[str, int]:  # noqa: ARG002 - there is one
        return LOOPBACK, self._port

    async def _rabbitmqctl(self, *command: str) -> None:
        if isinstance(self._server, PrivateNode):
            await self._server.control(*command)
            return
        told = await run(
            *("docker", "exec", "--user", "rabbitmq", self._server.name, "rabbitmqctl", *command),
            within=CONTROL_WITHIN,
        )
        if not told.succeeded:
            raise RuntimeError(f"rabbitmqctl {command[0]}: {told.last_line}")


class ClusterBroker(ChaosBroker):
    """Three nodes, each a container, of which any one may be lost."""

    nodes = len(NODES)
    description = "a cluster of three containers"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.cluster = Cluster(folder, self._logins)

    async def start(self) -> None:
        await self.cluster.start()

    async def discard(self) -> None:
        await self.cluster.remove()

    def address(self, node: int) -> tuple[str, int]:
        return LOOPBACK, self.cluster.port(NODES[node])

    async def _rabbitmqctl(self, *command: str) -> None:
        await self.cluster.control(NODES[0], *command)
