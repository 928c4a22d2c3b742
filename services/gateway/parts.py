"""What the gateway is made of. `__main__` makes the parts; tests make others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import cast

from fastapi import Request

from auth.verifier import Verifier
from messaging.backlog import LIMIT
from messaging.rpc import RpcClient
from messaging.sharding import Sharding
from messaging.telemetry import Telemetry
from messaging.trust import LiveTrust
from services.declared import Declared
from services.gateway.carnets import Carnets
from services.gateway.commands import Commands
from services.gateway.journeys import JourneyHub
from services.gateway.live import EventHub
from services.gateway.playground import Playground
from services.web.edge import RECEIVE_DEADLINE


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What may differ from one gateway to the next. Times are in seconds."""

    public_url: str
    """Where clients reach the gateway: scheme, host, port; no trailing slash."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call; none by default. Never `*` with credentials."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose word counts about where a request comes from; nobody's by default."""
    rpc_deadline: float = 5.0
    publish_deadline: float = 5.0
    publish_backlog: int = LIMIT
    """Messages that wait for the broker at most; the next request is answered 503 at once."""
    sharding: Sharding = field(default_factory=Sharding)
    """How commands are spread over the shards of the order consumer's queue."""
    declared: Declared = ()
    """Services of one's own, for which commands are taken."""
    heartbeat: float = 10.0
    """Between two signs of life on a silent stream; below the 15 s of common proxies."""
    receive_deadline: float = RECEIVE_DEADLINE
    """For a request's body to arrive."""
    playground: bool = False
    """Whether users may tamper with messages of their own."""
    console_url: str | None = None
    """Where the operators' console is, without a path; None: nobody is led there."""

    @property
    def secure(self) -> bool:
        """Whether clients come by https, perhaps through a proxy that ends it."""
        return self.public_url.startswith("https://")

    @property
    def audiences(self) -> tuple[str, ...]:
        """What OAuth clients make their assertions out to (RFC 7523 §3).

        It is the metadata's issuer, or the token endpoint.
        """
        return self.public_url, f"{self.public_url}/oauth/token"


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """All that the routes use."""

    options: GatewayOptions
    clock: Callable[[], float]
    trust: LiveTrust
    verifier: Verifier
    rpc: RpcClient
    carnets: Carnets
    commands: Commands
    hub: EventHub
    telemetry: Telemetry
    journeys: JourneyHub
    playground: Playground | None = None
    """Where forgeries are made on request; None, as by default: nowhere."""
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    """What must hold for the gateway to be ready, by name."""


async def parts_of(request: Request) -> GatewayParts:
    """The parts of the gateway that serves `request`.

    A coroutine, as each dependency here: FastAPI has any other one run in a thread.
    """
    return cast("GatewayParts", request.app.state.parts)
