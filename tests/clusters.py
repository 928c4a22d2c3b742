"""Three real nodes of RabbitMQ as one cluster, which a test may kill, hang and bring back."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from messaging.probe import accepts
from services.contracts.topology import TOPOLOGY
from services.local.command import run
from services.local.definitions import generate_logins, stack_definitions
from services.local.logins import OPERATOR, Login
from services.local.ports import LOOPBACK, free_ports
from tests.engine import RABBITMQ_IMAGE, require_image

ROOT: Final = Path(__file__).parents[1]
NODES: Final = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")
"""Their host names, as `compose/cluster.conf` has them."""

UP_WITHIN: Final = 120.0
COMMAND_WITHIN: Final = 60.0
PROBE_WITHIN: Final = 5.0
LOOK_EVERY: Final = 0.2


class Cluster:
    """The broker of a whole stack (`services.local.broker.StackBroker`)."""

    process = None
    description = "the tests' cluster of three nodes"

    def __init__(self, folder: Path, logins: Mapping[str, Login]) -> None:
        """`logins`: one for each service, and the operator's."""
        self._folder = folder
        self._name = f"carnet-test-{secrets.token_hex(4)}"
        self._network = ""
        self._containers: dict[str, str] = {}
        ports = free_ports(2 * len(NODES))
        self._ports = dict(zip(NODES, ports[: len(NODES)], strict=True))
        self._management_ports = dict(zip(NODES, ports[len(NODES) :], strict=True))
        self._logins = logins

    def url(self, login: str) -> str:
        """The URLs of all nodes."""
        return " ".join(self.node_url(node, login) for node in NODES)

    def node_url(self, node: str, login: str = OPERATOR) -> str:
        return self._logins[login].url(LOOPBACK, self.port(node))

    def port(self, node: str) -> int:
        """Where it listens on this machine, from its first start to its removal."""
        return self._ports[node]

    async def start(self) -> None:
        """Start all nodes; return when they are one cluster, with every queue on each of them."""
        files = self._lay_out()
        self._network = await _docker("network", "create", self._name)
        for node in NODES:
            self._containers[node] = await self._create(node)
            for place, file in files.items():
                await _docker("cp", "--quiet", str(file), f"{self._containers[node]}:{place}")
        await _docker("start", *self._containers.values())
        await self.until_whole()

    async def remove(self) -> None:
        """Remove what was started; what each node said stays in the folder."""
        for node, container in self._containers.items():
            said = await run("docker", "logs", container, within=COMMAND_WITHIN)
            (self._folder / f"{node}.log").write_text(said.output)
        if self._containers:
            await _docker("rm", "--force", "--volumes", *self._containers.values())
        if self._network:
            await _docker("network", "rm", self._network)

    async def kill_node(self, node: str) -> None:
        """End it at once, as a machine that loses its power."""
        await _docker("kill", self._containers[node])

    async def start_node(self, node: str) -> None:
        """Bring back one that was killed, with its data."""
        await _docker("start", self._containers[node])

    async def pause_node(self, node: str) -> None:
        """Let it hang: it runs no more, and its connections stay open."""
        await _docker("pause", self._containers[node])

    async def resume_node(self, node: str) -> None:
        await _docker("unpause", self._containers[node])

    async def control(self, node: str, *command: str) -> None:
        """Run `rabbitmqctl` at a node."""
        await _docker("exec", "--user", "rabbitmq", self._containers[node], "rabbitmqctl", *command)

    async def leader(self, queue: str, *, lost: str = "") -> str:
        """The node that leads a queue, as another than the `lost` one says."""
        queues = await self._queues(next(node for node in NODES if node != lost))
        return str(queues[queue]["leader"]).removeprefix("rabbit@")

    async def until_whole(self) -> None:
        """Wait until every quorum queue has a replica up on each node, and all log in."""

        async def whole() -> bool:
            queues = await self._queues(NODES[0])
            replicated = [queue for queue in queues.values() if queue["type"] == "quorum"]
            return all(queue.name in queues for queue in TOPOLOGY.queues) and all(
                len(queue.get("online", ())) == len(NODES) for queue in replicated
            )

        await _until(whole, "whole")
        await self.until_open()

    async def until_open(self) -> None:
        """Wait until each node lets clients in.

        After a node has hung it does so at once, and takes messages, though for some 95 s the
        broker's own statistics show no replica as online but the leaders.
        """

        async def open_to_all() -> bool:
            return all([await accepts(self.node_url(node), within=PROBE_WITHIN) for node in NODES])

        await _until(open_to_all, "open at each node")

    async def stop(self) -> None:
        """The fixture ends it."""

    async def discard(self) -> None:
        """Likewise."""

    async def kill(self) -> None:
        """Likewise."""

    def _lay_out(self) -> dict[str, Path]:
        """The files of every node, by their place in it."""
        files = {
            "/etc/rabbitmq/conf.d/20-carnet.conf": ROOT / "compose" / "cluster.conf",
            "/etc/rabbitmq/enabled_plugins": ROOT / "compose" / "enabled_plugins",
            "/etc/rabbitmq/carnet.json": self._folder / "carnet.json",
            "/var/lib/rabbitmq/.erlang.cookie": self._folder / "cookie",
        }
        self._folder.mkdir(exist_ok=True)
        definitions = files["/etc/rabbitmq/carnet.json"]
        definitions.write_text(json.dumps(stack_definitions(self._logins)))
        definitions.chmod(0o644)
        cookie = files["/var/lib/rabbitmq/.erlang.cookie"]
        cookie.write_text(secrets.token_urlsafe(24))
        cookie.chmod(0o400)
        return files

    async def _create(self, node: str) -> str:
        return await _docker(
            "create",
            *("--name", f"{self._name}-{node}", "--hostname", node),
            *("--network", self._name, "--network-alias", node),
            *("--publish", f"{LOOPBACK}:{self._ports[node]}:5672"),
            *("--publish", f"{LOOPBACK}:{self._management_ports[node]}:15672"),
            RABBITMQ_IMAGE,
        )

    async def _queues(self, node: str) -> dict[str, dict[str, Any]]:
        async with self._management(node) as api:
            answer = await api.get("/queues/%2F")
        return {queue["name"]: queue for queue in answer.raise_for_status().json()}

    def _management(self, node: str) -> httpx.AsyncClient:
        operator = self._logins[OPERATOR]
        return httpx.AsyncClient(
            base_url=f"http://{LOOPBACK}:{self._management_ports[node]}/api",
            auth=(operator.name, operator.password),
            timeout=30,
            trust_env=False,
        )


@asynccontextmanager
async def running_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster that is whole; removed afterwards.

    Raises:
        UnavailableError: it cannot be had on this machine.
    """
    await asyncio.to_thread(require_image, RABBITMQ_IMAGE)
    cluster = Cluster(folder, generate_logins())
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.remove()


async def _holds(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does; while a cluster changes, its own API fails at times."""
    try:
        return await condition()
    except httpx.HTTPError:
        return False


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a state of the cluster."""
    try:
        async with asyncio.timeout(UP_WITHIN):
            while not await _holds(condition):  # noqa: ASYNC110 - it tells nobody when it changes
                await asyncio.sleep(LOOK_EVERY)
    except TimeoutError as error:
        raise AssertionError(f"the cluster is not {what} after {UP_WITHIN:.0f} s") from error


async def _docker(*arguments: str) -> str:
    done = await run("docker", *arguments, within=COMMAND_WITHIN)
    assert done.succeeded, f"docker {arguments[0]}: {done.output}"
    return done.output.strip()
