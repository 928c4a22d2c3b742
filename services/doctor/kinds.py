"""The services that can be examined: what each is set up by, and what it works with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import services
from messaging.topology import Topology
from services.contracts.topology import (
    GATEWAY,
    GATEWAY_TOPOLOGY,
    ORDER_SERVICE,
    USER_SERVICE,
    USERS_TOPOLOGY,
    orders_topology,
)
from services.declared import DeclaredService
from services.gateway.settings import GatewaySettings
from services.orders.settings import OrderSettings
from services.settings import ServiceSettings
from services.users.settings import UserSettings


@dataclass(frozen=True, slots=True)
class Kind:
    """One of them.

    name: of the process, the command and the package.
    topology: what it works with, by the number of shards of the order consumer's work.
    declared: what the others know of it, where it is one's own.
    """

    name: str
    client_id: str
    settings: type[ServiceSettings]
    topology: Callable[[int], Topology]
    declared: DeclaredService | None = None

    @classmethod
    def own(cls, declared: DeclaredService) -> Self:
        """One of one's own: it is called by its client id."""
        client = declared.client
        return cls(client, client, ServiceSettings, lambda _: declared.topology, declared)

    @property
    def migrations(self) -> Path | None:
        """Those of its database; None where they are in a package that is not ours to load."""
        if self.declared is not None:
            return None
        return Path(services.__file__).parent / self.name / "migrations"


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("users", USER_SERVICE, UserSettings, lambda _: USERS_TOPOLOGY),
        Kind("orders", ORDER_SERVICE, OrderSettings, orders_topology),
        Kind("gateway", GATEWAY, GatewaySettings, lambda _: GATEWAY_TOPOLOGY),
    )
}
