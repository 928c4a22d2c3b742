"""The single checks that `auth.verifier` puts in order. Each returns or refuses."""

from functools import lru_cache
from typing import NoReturn

from auth.claims import LEEWAY, is_public, service_subject
from auth.errors import (
    Code,
    ExpiredTokenError,
    MalformedTokenError,
    SealMismatchError,
    UntrustedTokenError,
)
from auth.keyset import ListedKey
from auth.message import BEARER, Route, UnverifiedMessage
from auth.seal import Kind, SealClaims, digest
from auth.tokens import MAX_ACCESS_LIFE, MAX_CARNET_LIFE, AccessClaims, CarnetClaims


def header_values(message: UnverifiedMessage, name: str) -> list[tuple[str, object]]:
    """All headers of that name, whatever their case."""
    return message.named.get(name, [])


def only_header(message: UnverifiedMessage, name: str) -> str:
    values = header_values(message, name)
    if len(values) > 1:
        raise MalformedTokenError(Code.DUPLICATE_TOKEN, f"more than one {name}")
    if not values or values[0][0] != name or not isinstance(values[0][1], str):
        raise MalformedTokenError(Code.MISSING_TOKEN, f"no header {name} that is a string")
    return values[0][1]


def bearer_token(authorization: str) -> str:
    if not authorization.startswith(BEARER):
        raise MalformedTokenError(Code.MISSING_TOKEN, "authorization is not Bearer <carnet>")
    return authorization.removeprefix(BEARER)


def sealing_client(carnet: CarnetClaims) -> str | None:
    """The one client that may seal with this carnet: its actor, or the service it speaks for."""
    if carnet.actors:
        return carnet.actors[0]
    service = service_subject("")
    return carnet.sub.removeprefix(service) if carnet.sub.startswith(service) else None


def named_clients(claims: CarnetClaims | AccessClaims) -> frozenset[str]:
    """The clients that a token speaks for or through: each must still be listed.

    A public client never is: its tokens end with their sessions, which its removal ends.
    """
    through = claims.actors if isinstance(claims, CarnetClaims) else (claims.client_id,)
    service = service_subject("")
    own = (claims.sub.removeprefix(service),) if claims.sub.startswith(service) else ()
    return _with_a_key(through + own)


@lru_cache(maxsize=1_024)
def _with_a_key(clients: tuple[str, ...]) -> frozenset[str]:
    return frozenset(client for client in clients if not is_public(client))


def check_binding(
    seal: SealClaims,
    message: UnverifiedMessage,
    route: Route,
    kind: Kind,
    *,
    audience: str | None,
) -> None:
    if seal.k != kind:
        refuse_mismatch(f"sealed as another kind of message than {kind}")
    if seal.aud != audience:
        refuse_mismatch("sealed for another receiver")
    if (seal.ex, seal.rk, seal.ty) != (route.exchange, route.routing_key, route.type):
        refuse_mismatch("sealed for another exchange, routing key or type")
    if message.type != seal.ty:
        refuse_mismatch("the type beside the seal is another")
    if seal.bh != digest(message.body):
        refuse_mismatch("sealed over another body")


def refuse_mismatch(detail: str) -> NoReturn:
    raise SealMismatchError(Code.SEAL_MISMATCH, detail)


def check_signer(seal: SealClaims, client_id: str) -> None:
    """The key that the seal was verified with is `client_id`'s."""
    if seal.iss != client_id:
        raise UntrustedTokenError(Code.UNKNOWN_KEY, "kid is not among this signer's keys")


def check_signing_time(listed: ListedKey, iat: int) -> None:
    """A retired key is believed for what it signed before it was retired, and no more."""
    if not listed.signed_in_time(iat):
        raise UntrustedTokenError(Code.KEY_RETIRED, "signed with a key after its retirement")


def check_life(claims: CarnetClaims | AccessClaims, *, now: float) -> None:
    longest = MAX_CARNET_LIFE if isinstance(claims, CarnetClaims) else MAX_ACCESS_LIFE
    if max(claims.iat, claims.nbf or 0) > now + LEEWAY:
        raise ExpiredTokenError(Code.NOT_YET_VALID, "issued in the future")
    if not 0 < claims.exp - claims.iat <= longest:
        raise ExpiredTokenError(Code.LIFETIME_TOO_LONG, f"lives longer than {longest} s")


def check_acceptance(carnet: CarnetClaims, seal: SealClaims, *, expiry_lifted: bool) -> None:
    """The work was accepted while the carnet was good."""
    if seal.iat < carnet.iat - LEEWAY:
        raise ExpiredTokenError(Code.NOT_YET_VALID, "sealed before its carnet was issued")
    if seal.iat > carnet.exp and not expiry_lifted:
        raise ExpiredTokenError(Code.EXPIRED, "the carnet was expired when the work was accepted")


def check_seal_time(seal: SealClaims, *, max_age: float, now: float) -> None:
    if max(seal.iat, seal.nbf or 0) > now + LEEWAY:
        raise ExpiredTokenError(Code.NOT_YET_VALID, "sealed in the future")
    if not 0 <= seal.exp - seal.iat <= max_age:
        raise ExpiredTokenError(Code.LIFETIME_TOO_LONG, f"sealed for longer than {max_age:.0f} s")
    if now > seal.exp + LEEWAY:
        raise ExpiredTokenError(Code.TOO_OLD, "the work has waited for too long")
