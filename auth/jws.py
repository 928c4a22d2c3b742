"""Compact JWS: sign, and verify in the order form, header, algorithm, key, signature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from auth.errors import Code, MalformedTokenError, UntrustedTokenError
from auth.keys import ALLOWED_ALGORITHMS, SigningKey, VerificationKey
from auth.strict import UnverifiedToken, encode_base64url, parse_json_object

if TYPE_CHECKING:
    from auth.tokens import IssuedClaims

ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 - a media type (RFC 9068 §2.1)
CARNET: Final = "carnet+jwt"
SEAL: Final = "carnet-seal+jwt"
KEY_SET: Final = "carnet-keys+jwt"
CLIENT_ASSERTION: Final = "client-authentication+jwt"
RELEASE: Final = "carnet-release+jwt"


class Claims(BaseModel):
    """Base of claims that are read once: strictly typed, immutable, what is not known ignored.

    (RFC 7519 §4: "all claims that are not understood by implementations MUST be ignored".)
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


C = TypeVar("C", bound="Claims | IssuedClaims")


def sign_token(
    claims: Mapping[str, Any] | Claims | IssuedClaims, *, typ: str, key: SigningKey
) -> str:
    """Sign claims as a compact JWS with the header members alg, kid, typ and no other."""
    if isinstance(claims, Mapping):
        payload = _json(claims)
    else:
        payload = _ADAPTERS[type(claims)].dump_json(claims, exclude_none=True)
    signing_input = f"{_header(key.algorithm, key.kid, typ)}.{encode_base64url(payload)}"
    signature = key.sign(signing_input.encode("ascii"))
    return f"{signing_input}.{encode_base64url(signature)}"


@lru_cache(maxsize=64)
def _header(algorithm: str, kid: str, typ: str) -> str:
    """The first part of all tokens of one key and kind."""
    return encode_base64url(_json({"alg": algorithm, "kid": kid, "typ": typ}))


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def check_algorithm(token: UnverifiedToken, *, typ: str) -> None:
    """Refuse any other kind of token and any algorithm that is not on the list.

    Raises:
        UntrustedTokenError: `wrong_type` (RFC 8725 §3.11), `algorithm_not_allowed` (§3.1).
    """
    if token.unverified_header["typ"] != typ:
        raise UntrustedTokenError(Code.WRONG_TYPE, f"typ is not {typ}")
    if token.unverified_header["alg"] not in ALLOWED_ALGORITHMS:
        raise UntrustedTokenError(Code.ALGORITHM_NOT_ALLOWED, "alg is not on the allow list")


def check_key(token: UnverifiedToken, key: VerificationKey) -> None:
    """Refuse an `alg` that is not the key's own: the key says how it signs, not the token.

    Raises:
        UntrustedTokenError: `key_mismatch`.
    """
    if key.algorithm != token.unverified_header["alg"]:
        raise UntrustedTokenError(Code.KEY_MISMATCH, "alg is not that of the key")


def check_signature(token: UnverifiedToken, key: VerificationKey) -> None:
    """Refuse what this key did not sign.

    Raises:
        UntrustedTokenError: `bad_signature`.
    """
    refuse_unless(holds=key.verify(token.signing_input, token.signature))


def refuse_unless(*, holds: bool) -> None:
    """What a signature that does not hold means.

    Raises:
        UntrustedTokenError: `bad_signature`.
    """
    if not holds:
        raise UntrustedTokenError(Code.BAD_SIGNATURE, "the signature is not that key's")


def parse_claims(token: UnverifiedToken, kind: type[C]) -> C:
    """Read the payload of a token whose signature holds.

    Raises:
        MalformedTokenError: `malformed_claims`: no strict JSON, or a claim is missing or of
            another type (a float, string or bool is no NumericDate here).
    """
    try:
        claims: C = _ADAPTERS[kind].validate_python(parse_json_object(token.unverified_payload))
    except ValidationError as error:
        names = sorted({str(part) for e in error.errors() for part in e["loc"][:1]})
        raise MalformedTokenError(
            Code.MALFORMED_CLAIMS, f"missing or mistyped: {', '.join(names)}"
        ) from None
    except ValueError as error:
        raise MalformedTokenError(Code.MALFORMED_CLAIMS, f"payload: {error}") from error
    return claims


def members(claims: Claims | IssuedClaims, names: AbstractSet[str] | None = None) -> dict[str, Any]:
    """What the claims say, as it is signed; of that, what has one of these names."""
    only = None if names is None else set(names)
    said: dict[str, Any] = _ADAPTERS[type(claims)].dump_python(
        claims, include=only, exclude_none=True
    )
    return said


class _Adapters(dict[type[Any], TypeAdapter[Any]]):
    """What reads and writes each kind of claims, made at its first use."""

    def __missing__(self, kind: type[Any]) -> TypeAdapter[Any]:
        return self.setdefault(kind, TypeAdapter(kind))


_ADAPTERS: Final = _Adapters()
