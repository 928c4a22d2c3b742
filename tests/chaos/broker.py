"""The broker under the whole stack: killed, started again on what it held, and short of memory."""

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

CONTROL_WITHIN: Final = 60.0
ENOUGH: Final = "0.6"
NONE: Final = "0.00000001"


class ChaosBroker:
    """A private node where RabbitMQ is installed, else a container; always ours alone."""

    def __init__(self, folder: Path) -> None:
        self._logins = generate_logins()
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
        self.nodes = 1

    async def start(self) -> None:
        await self._server.start(self._logins[OPERATOR])
        self._port = self._server.port

    async def kill(self) -> None:
        """End it as a power cut would; `start` brings it back with what it held."""
        await self._server.kill()

    async def discard(self) -> None:
        await self._server.kill()
        await self._server.forget()

    async def raise_alarm(self) -> None:
        """Let it find itself short of memory: it reads no more from who publishes."""
        await self._rabbitmqctl("set_vm_memory_high_watermark", NONE)

    async def clear_alarm(self) -> None:
        await self._rabbitmqctl("set_vm_memory_high_watermark", ENOUGH)

    def address(self, _node: int) -> tuple[str, int]:
        """Where a node listens now."""
        return LOOPBACK, self._port

    def url(self, login: str, ports: Sequence[int] = ()) -> str:
        """The AMQP URL of a client, by way of `ports`, one for each node, where some are given."""
        return " ".join(
            self._logins[login].url(LOOPBACK, port) for port in (ports or (self._port,))
        )

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
