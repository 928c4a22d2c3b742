"""What the gateway is made of. `__main__` makes the parts; tests make others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from auth.trust import TrustSource
from auth.verifier import Verifier
from messaging.rpc import RpcClient
from services.gateway.carnets import Carnets
from services.gateway.commands import Commands
from services.gateway.live import EventHub


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What may differ from one gateway to the next. Times are in seconds."""

    public_url: str
    """Where clients reach the gateway: scheme, host, port; no trailing slash."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call; none by default. Never `*` with credentials."""
    rpc_deadline: float = 5.0
    publish_deadline: float = 5.0
    heartbeat: float = 10.0
    """Between two signs of life on a silent stream; below the 15 s of common proxies."""
    receive_deadline: float = 10.0
    """For a request's body to arrive."""


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """All that the routes use."""

    options: GatewayOptions
    clock: Callable[[], float]
    trust: TrustSource
    verifier: Verifier
    rpc: RpcClient
    carnets: Carnets
    commands: Commands
    hub: EventHub
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    """What must hold for the gateway to be ready, by name."""


def parts_of(request: Request) -> GatewayParts:
    """The parts of the gateway that serves `request`."""
    return cast("GatewayParts", request.app.state.parts)
