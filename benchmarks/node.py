"""The broker under measurement: one node of our own, and on it a virtual host for each lane.

A lane is a stack of its own, with its own topology and trust: cases on two of them do not meet.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.contracts.topology import whole_topology
from services.local import container
from services.local.broker import find_means, make_sure
from services.local.child import Child
from services.local.container import BrokerContainer
from services.local.definitions import generate_logins, stack_definitions
from services.local.logins import OPERATOR, Login
from services.local.node import PrivateNode
from services.local.ports import LOOPBACK

COMPARED_WITHIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Lane:
    """One virtual host as the broker of a stack (`services.local.broker.StackBroker`)."""

    description: str
    server: PrivateNode | BrokerContainer
    logins: Mapping[str, Login]
    vhost: str

    @property
    def process(self) -> Child | None:
        return self.server.process

    @property
    def pid(self) -> int | None:
        """The node's own process, where it is not in a container."""
        child = self.server.process if isinstance(self.server, PrivateNode) else None
        return child.process.pid if child is not None else None

    def url(self, login: str) -> str:
        return self.logins[login].url(LOOPBACK, self.server.port, self.vhost)

    async def stop(self) -> None:
        """The node is all lanes'."""

    async def discard(self) -> None:
        """Likewise."""

    async def kill(self) -> None:
        """Likewise."""


@asynccontextmanager
async def lanes(folder: Path, count: int) -> AsyncIterator[list[Lane]]:
    """A node with so many lanes, thrown away afterwards.

    Raises:
        NoBrokerError, NodeStartError, StateUnusableError: as `services.local.broker.open_broker`.
    """
    logins, installation = generate_logins(), await find_means(print)
    vhosts = ["/", *(f"lane-{number}" for number in range(1, count))]
    definitions = _definitions(logins, vhosts)
    if installation is None:
        server: PrivateNode | BrokerContainer = BrokerContainer(folder, definitions)
        description = f"a container of {container.IMAGE}"
    else:
        server = PrivateNode(installation, folder, definitions)
        description = f"a private node of {installation}"
    await server.start(logins[OPERATOR])
    try:
        found = [Lane(description, server, logins, vhost) for vhost in vhosts]
        for lane in found:
            await make_sure(lane.url(OPERATOR), whole_topology(), within=COMPARED_WITHIN)
        yield found
    finally:
        await server.kill()
        await server.forget()


def _definitions(logins: Mapping[str, Login], vhosts: list[str]) -> dict[str, Any]:
    """Those of a stack, for each virtual host; the logins are one and the same."""
    first, *others = (stack_definitions(logins, vhost) for vhost in vhosts)
    for other in others:
        for part, entries in other.items():
            if part != "users":
                first[part] += entries
    return first
