"""The services that can be examined: what each is set up by, and what it works with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import services
from messaging.topology import Topology
from services.contracts.topology import (
    GATEWAY,
    GATEWAY_TOPOLOGY,
    ORDER_SERVICE,
    ORDERS_TOPOLOGY,
    USER_SERVICE,
    USERS_TOPOLOGY,
)
from services.gateway.settings import GatewaySettings
from services.orders.settings import OrderSettings
from services.settings import ServiceSettings
from services.users.settings import UserSettings


@dataclass(frozen=True, slots=True)
class Kind:
    """`name`: of the process, the command and the package."""

    name: str
    client_id: str
    settings: type[ServiceSettings]
    topology: Topology

    @property
    def migrations(self) -> Path:
        return Path(services.__file__).parent / self.name / "migrations"


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("users", USER_SERVICE, UserSettings, USERS_TOPOLOGY),
        Kind("orders", ORDER_SERVICE, OrderSettings, ORDERS_TOPOLOGY),
        Kind("gateway", GATEWAY, GatewaySettings, GATEWAY_TOPOLOGY),
    )
}
