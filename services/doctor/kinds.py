"""The services that can be examined: what each is set up by, and what it works with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
from services.gateway.settings import GatewaySettings
from services.orders.settings import OrderSettings
from services.settings import ServiceSettings
from services.users.settings import UserSettings


@dataclass(frozen=True, slots=True)
class Kind:
    """One of them.

    name: of the process, the command and the package.
    topology: what it works with, by the number of shards of the order consumer's work.
    """

    name: str
    client_id: str
    settings: type[ServiceSettings]
    topology: Callable[[int], Topology]

    @property
    def migrations(self) -> Path:
        return Path(services.__file__).parent / self.name / "migrations"


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("users", USER_SERVICE, UserSettings, lambda _: USERS_TOPOLOGY),
        Kind("orders", ORDER_SERVICE, OrderSettings, orders_topology),
        Kind("gateway", GATEWAY, GatewaySettings, lambda _: GATEWAY_TOPOLOGY),
    )
}
