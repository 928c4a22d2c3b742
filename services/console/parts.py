"""What the console is made of. `service` makes the parts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, cast

from fastapi import Depends, Request

from auth.verifier import Verifier
from messaging.rpc import RpcClient
from messaging.telemetry import Telemetry
from messaging.trust import LiveTrust
from services.console.letters import Letters
from services.console.queues import Queues
from services.console.watching import Watching
from services.declared import Declared
from services.operations.watching import Watch
from services.web.edge import RECEIVE_DEADLINE


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """What may differ from one console to the next. Times are in seconds."""

    public_url: str
    """Where browsers reach it: scheme, host, port; no trailing slash."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose word counts about where a request comes from; nobody's by default."""
    rpc_deadline: float = 5.0
    watches: tuple[Watch, ...] = ()
    """Services to look at."""
    shards: int = 1
    """Of the order consumer's work."""
    declared: Declared = ()
    """Services of one's own, whose queues are there too."""
    receive_deadline: float = RECEIVE_DEADLINE
    """For a request's body to arrive."""

    @property
    def secure(self) -> bool:
        """Whether browsers come by https, perhaps through a proxy that ends it."""
        return self.public_url.startswith("https://")


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """All that the routes use.

    verifier: judges operators' access tokens.
    """

    options: ConsoleOptions
    clock: Callable[[], float]
    trust: LiveTrust
    verifier: Verifier
    rpc: RpcClient
    letters: Letters
    queues: Queues
    watching: Watching
    telemetry: Telemetry
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    """What must hold for the console to be ready, by name."""


async def parts_of(request: Request) -> ConsoleParts:
    """The parts of the console that serves `request`."""
    return cast("ConsoleParts", request.app.state.parts)


Parts = Annotated[ConsoleParts, Depends(parts_of)]
