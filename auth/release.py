"""The release: what the issuer states for an operator, so that a dead letter is taken after all.

It travels in the header `carnet-release` beside the unchanged message, for ten minutes at most,
and stands in for the carnet's own checks: subject, actors and scope are those that the issuer
found in the carnet. The seal and its binding are checked as ever. The same statement with `what`
as `discard` says that the message is not wanted any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from auth.claims import LEEWAY, Digest, Subject, service_subject
from auth.errors import Code, ExpiredTokenError
from auth.jws import RELEASE, members, sign_token
from auth.keys import SigningKey
from auth.message import VerifiedMessage
from auth.seal import digest
from auth.tokens import FORM, CarnetClaims, new_token_id

MAX_RELEASE_LIFE: Final = 10 * 60
"""Seconds."""

Lift = Literal["age", "expiry", "revocation"]
"""What does not count: that the work has waited too long, that the carnet was or is expired, that
its session or subject was revoked."""

What = Literal["release", "discard"]

LIFTS: Final[tuple[Lift, ...]] = ("age", "expiry", "revocation")


@dataclass(frozen=True, slots=True, kw_only=True, config=FORM)
class ReleaseClaims(CarnetClaims):
    """The carnet's `sub`, `sid`, `epoch`, `scope` and `act`, with a life and an id of its own.

    seal: hash of the seal of the one message that it is about.   lift: what does not count.
    by: the operator who asked.
    """

    what: What
    seal: Digest
    lift: Annotated[tuple[Lift, ...], Field(max_length=len(LIFTS), strict=False)]
    by: Subject


def sign_release(
    message: VerifiedMessage,
    unverified_seal: str,
    *,
    issuer: str,
    key: SigningKey,
    what: What,
    lift: Iterable[Lift],
    by: str,
    now: float,
) -> str:
    """State that `by` releases or discards a message which `Verifier.letter` has verified.

    unverified_seal: the text of its seal.
    """
    carnet, seal = message.carnet, message.seal
    of_carnet = (
        {"sub": service_subject(seal.iss), "scope": "", "epoch": 0}
        if carnet is None
        else members(carnet, {"sub", "sid", "epoch", "scope", "act"})
    )
    claims = {
        **of_carnet,
        "iss": issuer,
        "aud": seal.aud,
        "iat": int(now),
        "exp": int(now) + MAX_RELEASE_LIFE,
        "jti": new_token_id(),
        "what": what,
        "seal": digest(unverified_seal.encode("ascii")),
        "lift": sorted(set(lift)),
        "by": by,
    }
    return sign_token(claims, typ=RELEASE, key=key)


def check_release_time(release: ReleaseClaims, *, now: float) -> None:
    """Its own times, which no release lifts.

    Raises:
        ExpiredTokenError: `release_expired`: ask for another one.
    """
    if max(release.iat, release.nbf or 0) > now + LEEWAY:
        raise ExpiredTokenError(Code.RELEASE_REFUSED, "released in the future")
    if not 0 < release.exp - release.iat <= MAX_RELEASE_LIFE:
        raise ExpiredTokenError(Code.RELEASE_REFUSED, f"lives longer than {MAX_RELEASE_LIFE} s")
    if now > release.exp + LEEWAY:
        raise ExpiredTokenError(Code.RELEASE_EXPIRED, "the release is expired; ask for another")
