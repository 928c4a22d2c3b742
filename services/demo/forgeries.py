"""Five forgeries of a genuine message, as an attacker who can write to the broker would try.

Three can be had by whoever reads and writes the broker. Two (expired, wrong audience) need private
keys of the issuer and the gateway, which only the local stack's operator has: the consumer is not
deceived by them either.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from auth.errors import Code
from auth.explain import decode_unverified
from auth.keys import SigningKey
from auth.keyset import KeySet
from auth.message import AUTHORIZATION, BEARER, CARNET_SEAL
from auth.seal import Sealer
from auth.tokens import AccessClaims, Issuer, new_token_id
from messaging.envelope import Envelope, sealed_headers
from services.contracts.topology import GATEWAY, ORDER_SERVICE, PLACE_ORDER

HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Forgery:
    """A message that must bounce: what was done to it, and the reason that it must get."""

    title: str
    expected: Code
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Captured:
    """A genuine message as it lay on the broker."""

    body: bytes
    headers: dict[str, str]

    @property
    def carnet(self) -> str:
        return self.headers[AUTHORIZATION].removeprefix(BEARER)

    @property
    def seal(self) -> str:
        return self.headers[CARNET_SEAL]

    def envelope(self) -> Envelope:
        return Envelope(route=PLACE_ORDER, body=self.body, headers=self.headers)


@dataclass(frozen=True, slots=True)
class ForgersKeys:
    """The private keys that a forger would need first."""

    issuer: SigningKey
    gateway: SigningKey

    @classmethod
    def load(cls, keys: Path, key_set: KeySet, passphrase: bytes | None) -> "ForgersKeys":
        """Read them from the folder of the local stack's keys.

        Raises:
            KeyFileError: they cannot be read.
        """
        active = next(k for k, listed in key_set.issuer_keys.items() if listed.state == "active")
        return cls(
            issuer=SigningKey.load(keys / "user-service" / "issuer" / f"{active}.pem", passphrase),
            gateway=SigningKey.load(keys / GATEWAY / "seal.pem", passphrase),
        )


def five_forgeries(
    victim: Captured, attacker: Captured, keys: ForgersKeys, *, issuer: str, now: float
) -> Iterator[Forgery]:
    """Forge a victim's message in five ways; `attacker` is a genuine one of the attacker's own."""
    claims = decode_unverified(victim.carnet).unverified_claims
    parent = AccessClaims(
        iss=issuer,
        sub=claims["sub"],
        aud=GATEWAY,
        client_id=GATEWAY,
        iat=int(now) - 2 * HOUR,
        exp=int(now) + 2 * HOUR,
        jti=new_token_id(),
        scope=claims["scope"],
        sid=claims["sid"],
        epoch=claims["epoch"],
    )
    mint = Issuer(issuer, keys.issuer)
    gateway = Sealer(GATEWAY, keys.gateway)

    expired = mint.carnet(
        parent, actor=GATEWAY, audience=ORDER_SERVICE, scopes=parent.scopes, now=now - HOUR
    )
    yield Forgery(
        "a carnet that expired an hour ago, freshly sealed",
        Code.EXPIRED,
        _sealed(gateway, victim.body, expired, now=now),
    )
    elsewhere = mint.carnet(
        parent, actor=GATEWAY, audience="billing-service", scopes=parent.scopes, now=now
    )
    yield Forgery(
        "a good carnet for another service",
        Code.WRONG_AUDIENCE,
        _sealed(gateway, victim.body, elsewhere, now=now),
    )
    yield Forgery(
        "the body changed under the seal: 1,000 instead of 1",
        Code.SEAL_MISMATCH,
        replace(victim.envelope(), body=victim.body.replace(b'"quantity":1,', b'"quantity":1000,')),
    )
    yield Forgery(
        "the victim's carnet moved to the attacker's own message",
        Code.SEAL_MISMATCH,
        replace(
            attacker.envelope(),
            headers={**attacker.headers, AUTHORIZATION: BEARER + victim.carnet},
        ),
    )
    yield Forgery(
        "the victim's carnet, sealed with a key that nobody has listed",
        Code.UNKNOWN_KEY,
        _sealed(Sealer(GATEWAY, SigningKey.generate()), victim.body, victim.carnet, now=now),
    )


def _sealed(sealer: Sealer, body: bytes, carnet: str, *, now: float) -> Envelope:
    seal = sealer.command(
        route=PLACE_ORDER,
        audience=ORDER_SERVICE,
        message_id=str(uuid.uuid4()),
        body=body,
        carnet=carnet,
        now=now,
        expires_at=now + HOUR,
    )
    return Envelope(route=PLACE_ORDER, body=body, headers=sealed_headers(seal, carnet))
