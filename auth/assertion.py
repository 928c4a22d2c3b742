"""Client assertions: how a client proves who it is with its own key (RFC 7523 §2.2).

An assertion of ours has a `typ` of its own. RFC 7523 demands none, and OAuth libraries write `JWT`
or nothing: such a one is taken too. It cannot be another kind of token (decision 26): no other
one that these keys sign goes without its `typ`, says `sub` of its own signer, and is made out to
the issuer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from auth import jws
from auth.claims import LEEWAY, ClientId, Name, NumericDate
from auth.errors import (
    Code,
    ExpiredTokenError,
    MalformedTokenError,
    RefusalError,
    UntrustedTokenError,
)
from auth.strict import (
    UnverifiedToken,
    check_members,
    parse_json_object,
    split_token,
)
from auth.tokens import new_token_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from auth.keys import SigningKey
    from auth.keyset import KeySet

MAX_ASSERTION_LIFE: Final = 5 * 60
"""Seconds for which an assertion counts, from its `iat`; else that its `exp` may lie ahead."""

_PLAIN: Final = "JWT"
"""The `typ` of RFC 7519 §5.1, which says no more than what is seen anyway."""


class AssertionClaims(jws.Claims):
    """The claims of RFC 7523 §3. `jti` is demanded: an assertion is used once."""

    iss: ClientId
    sub: ClientId
    aud: Name
    exp: NumericDate
    jti: Annotated[str, Field(pattern=r"^[\x21-\x7E]{1,200}$")]
    iat: NumericDate | None = None
    nbf: NumericDate | None = None

    @property
    def ends_at(self) -> int:
        """When it counts no more.

        "The authorization server may reject JWTs with an "iat" claim value that is unreasonably
        far in the past" (RFC 7523 §3): libraries let theirs live for an hour.
        """
        return self.exp if self.iat is None else min(self.exp, self.iat + MAX_ASSERTION_LIFE)


def sign_assertion(
    client_id: str, key: SigningKey, *, audience: str, now: float, life: int = 60
) -> str:
    """An assertion for the issuer named `audience`; `life` in seconds."""
    claims = AssertionClaims(
        iss=client_id,
        sub=client_id,
        aud=audience,
        iat=int(now),
        exp=int(now) + life,
        jti=new_token_id(),
    )
    return jws.sign_token(claims, typ=jws.CLIENT_ASSERTION, key=key)


def unverified_client(unverified_assertion: str) -> str | None:
    """The client that an assertion says it is of, if it says so; to be compared, not believed."""
    try:
        token = _parse(unverified_assertion)
        claimed = parse_json_object(token.unverified_payload).get("sub")
    except (RefusalError, ValueError):
        return None
    return claimed if isinstance(claimed, str) else None


def verify_assertion(
    unverified_assertion: str, key_set: KeySet, *, audiences: Collection[str], now: float
) -> AssertionClaims:
    """Return what a listed client claims of itself. That it is used once is for the caller.

    audiences: what the issuer is called besides its name: the addresses of its endpoints.

    Raises:
        MalformedTokenError: not a canonical compact JWS of these claims.
        UntrustedTokenError: of another `typ`, not signed by a key of that very client, or for
            another audience than the issuer (RFC 7523 §3, points 1 to 3).
        ExpiredTokenError: outside its time, or good for more than 5 min (points 4 to 6).
    """
    token = _parse(unverified_assertion)
    plain = token.unverified_header["typ"] == _PLAIN
    jws.check_algorithm(token, typ=_PLAIN if plain else jws.CLIENT_ASSERTION)
    found = key_set.sealing_key(token.unverified_header["kid"])
    if found is None:
        raise UntrustedTokenError(Code.UNKNOWN_KEY, "kid is no client's key")
    client_id, listed = found
    jws.check_key(token, listed.key)
    jws.check_signature(token, listed.key)
    claims = jws.parse_claims(token, AssertionClaims)
    if not listed.signed_in_time(int(now)):
        raise UntrustedTokenError(Code.KEY_RETIRED, "signed with a retired key")
    if claims.iss != client_id:
        raise UntrustedTokenError(Code.UNKNOWN_KEY, "kid is not among this client's keys")
    if claims.sub != claims.iss:
        raise UntrustedTokenError(Code.WRONG_CLIENT, "iss and sub are not the same client")
    if claims.aud != key_set.issuer and claims.aud not in audiences:
        raise UntrustedTokenError(Code.WRONG_AUDIENCE, "aud is not our issuer")
    _check_time(claims, now)
    return claims


def _parse(unverified_assertion: str) -> UnverifiedToken:
    """The form of a token, whose header may lack `typ`.

    Raises:
        MalformedTokenError: as `parse_token`.
    """
    token = split_token(unverified_assertion)
    try:
        header = parse_json_object(token.unverified_header)
    except ValueError as error:
        raise MalformedTokenError(Code.MALFORMED_HEADER, f"header: {error}") from error
    return UnverifiedToken(
        check_members({"typ": _PLAIN, **header}),
        token.unverified_payload,
        token.signing_input,
        token.signature,
    )


def _check_time(claims: AssertionClaims, now: float) -> None:
    if now > claims.ends_at + LEEWAY:
        raise ExpiredTokenError(Code.EXPIRED, "the assertion is expired")
    if claims.ends_at > now + MAX_ASSERTION_LIFE + LEEWAY:
        raise ExpiredTokenError(Code.LIFETIME_TOO_LONG, "the assertion lives longer than 5 min")
    if max(claims.iat or 0, claims.nbf or 0) > now + LEEWAY:
        raise ExpiredTokenError(Code.NOT_YET_VALID, "the assertion is from the future")
