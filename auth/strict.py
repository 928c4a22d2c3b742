"""The strict front: what a token must look like before any library reads it.

PyJWT alone accepts duplicate keys, padded base64url, any `typ` and tokens of megabytes; two
parsers that disagree on a token are how a signature over one thing is taken for another.
"""

import binascii
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn

from auth.errors import Code, MalformedTokenError

MAX_TOKEN: Final = 4096
"""Longest token that is read, in characters. A statement of keys may be longer."""

_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
"""The two characters that differ (RFC 4648 §5); theirs are none of ours, and no padding is."""
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_LAST: Final = {0: b"", 2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
"""By the length modulo 4: what a text may end with, whose last bits stand for nothing (RFC 4648
§3.5). Of one character more than a multiple of 4 there is none."""
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
_HEADERS: Final = 256
_LONGEST_KEPT_HEADER: Final = 256
"""Bytes; ours have 110. Longer ones are read each time: a statement's may have 192 KiB."""

_MAX_DIGITS: Final = 16
_MAX_DEPTH: Final = 16


def encode_base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    encoded = binascii.b2a_base64(data, newline=False)
    return encoded.translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """Decode the one canonical encoding: no padding, no stray bits, no other characters.

    Raises:
        ValueError: any other text.
    """
    return _decode(_ascii(text))


def _ascii(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("not base64url")
    return text.encode("ascii")


def _decode(text: bytes) -> bytes:
    over = len(text) % 4
    if over and text[-1] not in _LAST.get(over, b""):
        raise ValueError("not canonical base64url")
    padded = text.translate(_STANDARD) + b"=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(padded, strict_mode=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object as RFC 8259 means it, and nothing that merely looks like one.

    Raises:
        ValueError: not UTF-8, byte order mark, duplicate key, a number that is NaN, infinite or
            an integer of more than 16 digits, NUL or lone surrogate in a string, nested more
            than 16 deep, or not an object.
    """
    try:
        text = data.decode("utf-8", errors="strict")
        parsed = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for one verdict
    if text.count("{") + text.count("[") > _MAX_DEPTH:
        _refuse_depth(parsed)
    if "\\u" in text:
        _refuse_unprintable(parsed)
    return parsed


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("integer too long")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):  # 1e999 is Infinity by another name
        raise ValueError("number too large")
    return number


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_members,
    parse_constant=_refuse_constant,
    parse_int=_bounded_int,
    parse_float=_finite_float,
)


def _refuse_depth(parsed: dict[str, Any]) -> None:
    """One bound on every Python: where recursion ends depends on version and call stack."""
    level: list[Any] = [parsed]
    for _ in range(_MAX_DEPTH):
        level = [inner for value in level for inner in _contents(value)]
    if level:
        raise ValueError("nested too deep")


def _contents(value: dict[str, Any] | list[Any]) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value
    return [inner for inner in values if isinstance(inner, dict | list)]


def _refuse_unprintable(parsed: dict[str, Any]) -> None:
    """Escapes can smuggle in what UTF-8 itself cannot: lone surrogates, and NUL."""
    pending: list[Any] = [parsed]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.keys())
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            raise ValueError("NUL or lone surrogate in a string")


class CompactToken(NamedTuple):
    """The decoded parts of a compact JWS, none of them read yet."""

    unverified_header: bytes
    unverified_payload: bytes
    signing_input: bytes
    signature: bytes


class UnverifiedToken(NamedTuple):
    """A token of the right form, of which nothing is believed yet."""

    unverified_header: Mapping[str, str]
    unverified_payload: bytes
    signing_input: bytes
    signature: bytes


def parse_token(unverified_token: str, *, limit: int = MAX_TOKEN) -> UnverifiedToken:
    """Read the form of a compact JWS: three parts, strict header of exactly alg, kid, typ.

    Raises:
        MalformedTokenError: `oversized_token`, `malformed_token`, `malformed_header`.
    """
    return parse_header(split_token(unverified_token, limit=limit))


def split_token(unverified_token: str, *, limit: int = MAX_TOKEN) -> CompactToken:
    """Take a compact JWS apart into three non-empty parts of canonical base64url.

    Raises:
        MalformedTokenError: `oversized_token`, `malformed_token`.
    """
    if len(unverified_token) > limit:
        raise MalformedTokenError(Code.OVERSIZED_TOKEN, f"longer than {limit} characters")
    try:
        token = _ascii(unverified_token)
        parts = token.split(b".")
        if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - RFC 7515 §3.1
            raise ValueError("not three parts joined by dots")  # noqa: TRY301 - one error for all
        header, payload, signature = map(_decode, parts)
    except ValueError as error:
        raise MalformedTokenError(Code.MALFORMED_TOKEN, str(error)) from error
    return CompactToken(
        unverified_header=header,
        unverified_payload=payload,
        signing_input=token[: token.rindex(b".")],
        signature=signature,
    )


def parse_header(token: CompactToken) -> UnverifiedToken:
    """Read the header of a token, and nothing else of it.

    Raises:
        MalformedTokenError: `malformed_header`.
    """
    header = token.unverified_header
    read = _kept_header if len(header) <= _LONGEST_KEPT_HEADER else _read_header
    return UnverifiedToken(
        unverified_header=read(header),
        unverified_payload=token.unverified_payload,
        signing_input=token.signing_input,
        signature=token.signature,
    )


def _read_header(unverified_header: bytes) -> Mapping[str, str]:
    try:
        header = parse_json_object(unverified_header)
    except ValueError as error:
        raise MalformedTokenError(Code.MALFORMED_HEADER, f"header: {error}") from error
    return MappingProxyType(check_members(header))


_kept_header: Final = lru_cache(maxsize=_HEADERS)(_read_header)
"""All tokens of one key have the same bytes, which always say the same; a refusal is not kept."""


def check_members(header: dict[str, Any]) -> dict[str, str]:
    """The header, if it has exactly alg, kid and typ, all non-empty strings.

    So none of `jwk`, `jku`, `x5u`, `x5c`, `crit`, `b64` and `zip` is ever looked at.

    Raises:
        MalformedTokenError: `malformed_header`.
    """
    if header.keys() != _HEADER_MEMBERS:
        raise MalformedTokenError(
            Code.MALFORMED_HEADER, "header must have exactly the members alg, kid, typ"
        )
    if not all(isinstance(value, str) and value for value in header.values()):
        raise MalformedTokenError(Code.MALFORMED_HEADER, "alg, kid and typ must be strings")
    return header
