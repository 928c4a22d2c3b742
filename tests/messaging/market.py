"""A small system to test with: a gateway that sends, a market that consumes, and their trust.

Keys, tokens and seals are genuine. A test takes a message that would be accepted and changes
the one thing that it is about.
"""

import itertools
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from auth.encryption import DecryptionKey
from auth.errors import TrustUnavailableError
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.message import AUTHORIZATION, BEARER, CARNET_RELEASE, CARNET_SEAL, Route
from auth.release import LIFTS, MAX_RELEASE_LIFE, Lift, What, sign_release
from auth.seal import Sealer
from auth.statement import KeySetDraft
from auth.tokens import AccessClaims, Issuer
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.contract import Command, Event, Request
from messaging.envelope import Envelope
from messaging.topology import (
    COMMANDS,
    DEAD,
    EVENTS,
    REPLY,
    RETRY,
    RPC,
    Binding,
    Topology,
    WorkQueue,
    rpc_queue,
)

ISSUER: Final = "user-service"
GATEWAY: Final = "api-gateway"
MARKET: Final = "market-service"
STRANGER: Final = "report-service"
"""A listed client, with keys, that may publish nothing of the others'."""

ALICE: Final = "3f0e5c1a-8f7e-4a52-9d0b-7b1c9a6f2e11"
SELL_SCOPE: Final = "market:sell"

ONE_DAY: Final = timedelta(days=1)

WORK: Final = WorkQueue("market.commands")
QUESTIONS: Final = "market.rpc"

TOPOLOGY: Final = Topology(
    exchanges=(COMMANDS, EVENTS, RPC, REPLY, RETRY, DEAD),
    queues=(*WORK.queues(), rpc_queue(QUESTIONS)),
    bindings=(
        Binding(WORK.name, COMMANDS.name, "market.#"),
        *WORK.bindings(),
        Binding(QUESTIONS, RPC.name, QUESTIONS),
    ),
)


class Sell(Command):
    """A command."""

    route: ClassVar[Route] = Route(COMMANDS.name, "market.sell", "market.sell.v1")

    what: Annotated[str, Field(max_length=100)]
    price: Annotated[Decimal, Field(ge=0)] = Decimal("1.20")
    lot: str | None = None
    """Sales of one lot are about the same thing."""

    def concerns(self, message_id: str) -> str | None:
        del message_id
        return self.lot


class Resell(Sell):
    """Another command."""

    route: ClassVar[Route] = Route(COMMANDS.name, "market.resell", "market.resell.v1")


class Sold(Event):
    """An event."""

    route: ClassVar[Route] = Route(EVENTS.name, "market.sold", "market.sold.v1")

    what: str


class Unsold(Event):
    """The event that tells of a refusal."""

    route: ClassVar[Route] = Route(EVENTS.name, "market.unsold", "market.unsold.v1")

    code: str


class Price(BaseModel):
    """A reply."""

    model_config = ConfigDict(frozen=True)

    price: Decimal


class AskPrice(Request[Price]):
    """A question."""

    route: ClassVar[Route] = Route(RPC.name, QUESTIONS, "market.price.v1")
    reply: ClassVar[type[Price]] = Price

    what: str


class AskSecretPrice(Request[Price]):
    """A question that only the market can read, as only the gateway can read the answer."""

    route: ClassVar[Route] = Route(RPC.name, QUESTIONS, "market.secret_price.v1")
    reply: ClassVar[type[Price]] = Price
    encrypted: ClassVar[bool] = True

    what: str


_PUBLISHES: Final = {
    GATEWAY: frozenset(c.route.type for c in (Sell, Resell, AskPrice, AskSecretPrice)),
    MARKET: frozenset(c.route.type for c in (Sold, Unsold)),
    STRANGER: frozenset({"reports.written.v1"}),
}


class SwitchableTrust(FixedTrust):
    """Trust that a test can make stale."""

    silent = False

    def require_fresh(self, now: float) -> None:
        if self.silent:
            raise TrustUnavailableError("the feed is silent")
        super().require_fresh(now)


@dataclass(frozen=True)
class Party:
    """One client with its private keys."""

    client_id: str
    sealer: Sealer
    decryption: DecryptionKey


@cache
def _root() -> SigningKey:
    return SigningKey.generate()


@cache
def _issuer_key() -> SigningKey:
    return SigningKey.generate()


@cache
def _keys(client_id: str) -> tuple[SigningKey, DecryptionKey]:
    del client_id
    return SigningKey.generate(), DecryptionKey.generate()


def party(client_id: str) -> Party:
    seal, encryption = _keys(client_id)
    return Party(client_id, Sealer(client_id, seal), encryption)


def issuer() -> Issuer:
    return Issuer(ISSUER, _issuer_key())


def make_trust() -> SwitchableTrust:
    """Trust in the issuer and all three clients."""
    return SwitchableTrust(TrustRoot([_root().public]).verify(make_statement(), now=time.time()))


def root_jwks() -> str:
    """The trust root, as a file holds it."""
    return json.dumps(TrustRoot([_root().public]).to_jwks())


def make_statement() -> str:
    """The statement that lists the issuer and all three clients."""
    now = time.time()
    draft = KeySetDraft.new(ISSUER)
    draft.add_issuer_key(_issuer_key().public, "active")
    for client_id, publishes in _PUBLISHES.items():
        seal, encryption = _keys(client_id)
        draft.add_client(
            client_id,
            key=seal.public,
            enc=encryption.public,
            publishes=publishes,
            exchanges=frozenset(),
            scopes=frozenset(),
        )
    return draft.sign(_root(), now=now - 60)


def make_carnet(
    *,
    audience: str = MARKET,
    scope: str = SELL_SCOPE,
    session: str = "session-of-alice-0001",
    now: float | None = None,
    life: int = 300,
) -> str:
    """A carnet of Alice's for the gateway to seal with."""
    now = time.time() if now is None else now
    parent = AccessClaims(
        iss=ISSUER,
        sub=ALICE,
        aud=GATEWAY,
        client_id=GATEWAY,
        iat=int(now),
        exp=int(now) + 900,
        jti=secrets.token_urlsafe(16),
        scope=scope,
        sid=session,
        epoch=1,
        auth_time=int(now),
    )
    return issuer().carnet(
        parent, actor=GATEWAY, audience=audience, scopes=parent.scopes, now=now, life=life
    )


@dataclass(frozen=True)
class Message:
    """A genuine command on its way; `envelope` is what is published."""

    command: Command
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    sealed_by: str = GATEWAY
    carnet: str = field(default_factory=make_carnet)
    sealed_at: float = field(default_factory=time.time)
    life: float = 3600
    body: bytes | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def envelope(self) -> Envelope:
        route = self.command.route
        body = self.command.to_body() if self.body is None else self.body
        seal = party(self.sealed_by).sealer.command(
            route=route,
            audience=MARKET,
            message_id=self.message_id,
            body=body,
            carnet=self.carnet,
            now=self.sealed_at,
            expires_at=self.sealed_at + self.life,
        )
        sealed = Envelope.sealed(route, body, seal=seal, carnet=self.carnet)
        return replace(sealed, headers={**sealed.headers, **dict(self.extra)})

    def but(self, **changes: object) -> Self:
        return replace(self, **changes)  # type: ignore[arg-type]


def released(
    envelope: Envelope,
    *,
    what: What = "release",
    lift: tuple[Lift, ...] = ("age", "expiry"),
    key: SigningKey | None = None,
    now: float | None = None,
    life: int = MAX_RELEASE_LIFE,
) -> Envelope:
    """A message as an operator sends it again: unchanged, with the issuer's statement."""
    seal = envelope.headers[CARNET_SEAL]
    now = time.time() if now is None else now
    stated = sign_release(
        Verifier(make_trust(), audience=MARKET).letter(
            envelope.headers[AUTHORIZATION].removeprefix(BEARER), seal, frozenset(LIFTS), now=now
        ),
        seal,
        issuer=ISSUER,
        key=key or _issuer_key(),
        what=what,
        lift=lift,
        by=ALICE,
        now=now - MAX_RELEASE_LIFE + life,
    )
    return replace(
        envelope,
        route=Route(RETRY.name, WORK.name, envelope.route.type),
        headers={**envelope.headers, CARNET_RELEASE: stated},
    )


_numbers = itertools.count(1)


def sell(what: str | None = None) -> Message:
    """A command that the market accepts."""
    return Message(Sell(what=what or f"tea-{next(_numbers)}"))


def verifier_of(client_id: str, trust: FixedTrust) -> Verifier:
    return Verifier(trust, audience=client_id)
