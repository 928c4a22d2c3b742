"""What is verified: a message as it came, and what is known of it once it is verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from auth.keyset import KeySet
    from auth.principal import Principal
    from auth.release import ReleaseClaims
    from auth.seal import SealClaims
    from auth.tokens import CarnetClaims

AUTHORIZATION: Final = "authorization"
"""AMQP header with `Bearer <carnet>`."""
CARNET_SEAL: Final = "carnet-seal"
"""AMQP header with the seal."""
CARNET_RELEASE: Final = "carnet-release"
"""AMQP header with the issuer's statement that a dead letter is to be taken after all."""
BEARER: Final = "Bearer "


@dataclass(frozen=True, slots=True)
class Route:
    """Where a type of message belongs: exchange, routing key, type (`orders.place.v1`).

    The sealed route is compared with the one that the handler registered: a delivery's own
    exchange and routing key change with every retry and prove nothing.
    """

    exchange: str
    routing_key: str
    type: str


@dataclass(slots=True)
class UnverifiedMessage:
    """A message as the broker handed it over. Nothing in it is believed.

    named: the headers by their names in lower case: a second one of a name must not hide.
    """

    body: bytes
    headers: Mapping[str, object]
    type: str | None
    reply_to: str | None = None
    named: Mapping[str, list[tuple[str, object]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named: dict[str, list[tuple[str, object]]] = {}
        for name, value in self.headers.items():
            named.setdefault(name.lower(), []).append((name, value))
        self.named = named


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """What a message proved. `principal` and `carnet` are None for one without a carnet.

    key_set: by whose keys.
    release: what stood in for the carnet, which was then not looked at.
    """

    seal: SealClaims
    carnet: CarnetClaims | None
    principal: Principal | None
    key_set: KeySet = field(repr=False, compare=False)
    release: ReleaseClaims | None = None
