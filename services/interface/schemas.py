"""JSON Schemas (draft 2020-12) of bodies, claims and headers.

Of what a service reads, the schema says what it takes; of what it writes, what comes: a decimal
may come as a number or a string, and is always written as a string.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from auth import jws, statements
from auth.assertion import AssertionClaims
from auth.keyset import StatementClaims
from auth.message import AUTHORIZATION, BEARER, CARNET_RELEASE, CARNET_SEAL
from auth.release import ReleaseClaims
from auth.seal import SealClaims
from auth.strict import MAX_TOKEN
from auth.tokens import AccessClaims, CarnetClaims
from messaging.contract import Request
from messaging.journeys import JOURNEY, MARK
from messaging.rpc.bodies import ReplyError
from messaging.sharding import SHARD
from services.interface.messages import Message

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
COMPACT_JWS: Final = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"


@dataclass(frozen=True, slots=True)
class Token:
    """One kind of signed statement: the `typ` of its header, its claims, who signs it."""

    name: str
    typ: str
    claims: type[Any]
    signer: str


TOKENS: Final = (
    Token("access-token", jws.ACCESS_TOKEN, AccessClaims, "issuer"),
    Token("carnet", jws.CARNET, CarnetClaims, "issuer"),
    Token("seal", jws.SEAL, SealClaims, "client"),
    Token("release", jws.RELEASE, ReleaseClaims, "issuer"),
    Token("client-assertion", jws.CLIENT_ASSERTION, AssertionClaims, "client"),
    Token("key-set", jws.KEY_SET, StatementClaims, "trust root"),
    Token("revocation", statements.REVOCATION, statements.RevocationClaims, "issuer"),
    Token("heartbeat", statements.HEARTBEAT, statements.HeartbeatClaims, "issuer"),
    Token("snapshot", statements.SNAPSHOT, statements.SnapshotClaims, "issuer"),
)
TRUST_FEED: Final = ("key-set", "revocation", "heartbeat", "snapshot")
"""Those that are told on `carnet.trust`."""

SEALED: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "cmd": (frozenset({"aud"}), frozenset({"rt", "re", "sub", "cause"})),
    "req": (frozenset({"aud", "rt"}), frozenset({"re", "sub", "cause"})),
    "rep": (frozenset({"aud", "re"}), frozenset({"ath", "rt", "sub", "cause"})),
    "evt": (frozenset({"sub", "cause"}), frozenset({"aud", "ath", "rt", "re"})),
}
"""By kind of message: the claims that its seal has besides the common ones, and those that no
publisher writes. A receiver passes over the latter, as over any claim that it does not know."""


def body_schema(message: Message) -> Schema:
    """Of the body, decrypted where it travels encrypted."""
    mode: Literal["validation", "serialization"] = (
        "serialization" if message.kind == "evt" else "validation"
    )
    return _plain(message.contract, mode)


def reply_schema(message: Message) -> Schema:
    """Of the reply to a request: `ok` or `error`, never both.

    Raises:
        TypeError: it is no request.
    """
    if not issubclass(message.contract, Request):
        raise TypeError(f"{message.type} is not answered")
    result = _plain(message.contract.reply, "serialization")
    error = _plain(ReplyError, "serialization")
    definitions = result.pop("$defs", {})
    # What is not set is not sent.
    error["properties"]["retry_after"] = {"type": "integer", "exclusiveMinimum": 0}
    error["description"] += " With `retry_after`: the same may be granted after so many seconds."
    return {
        "title": f"{message.contract.__name__}Reply",
        "description": f"The answer to `{message.type}`.",
        "type": "object",
        "additionalProperties": False,
        "properties": {"ok": result, "error": error},
        "oneOf": [{"required": ["ok"]}, {"required": ["error"]}],
        **({"$defs": definitions} if definitions else {}),
    }


_JWK: Final[Schema] = {
    "type": "object",
    "required": ["kty"],
    "properties": {
        "kty": {"enum": ["EC", "OKP", "RSA"]},
        "crv": {"enum": ["P-256", "Ed25519"]},
        **{
            name: {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"} for name in ("x", "y", "n", "e")
        },
        "kid": {"type": "string", "description": "RFC 7638 thumbprint (SHA-256)."},
        "alg": {"enum": ["ES256", "EdDSA", "RS256", "ECDH-ES"]},
        "use": {"enum": ["sig", "enc"]},
    },
}
"""A public key (RFC 7517), of the kinds that are allowed."""


def claims_schema(token: Token) -> Schema:
    """Of a token's payload. Claims that are not understood are ignored (RFC 7519 §4).

    What the models check by functions of their own is added here.
    """
    schema = _plain(token.claims, "validation")
    schema["x-carnet-token"] = {"typ": token.typ, "signed by": token.signer}
    if token.claims is SealClaims:
        schema["allOf"] = [_kind_of_seal(kind, *claims) for kind, claims in SEALED.items()]
    if token.claims is StatementClaims:
        _add_jwk(schema["$defs"])
    if "sid" in schema["properties"] and "scope" in schema["properties"]:
        # A user's token names its session; a service's has none.
        schema["if"] = {"not": {"properties": {"sub": {"pattern": "^service:"}}}}
        schema["then"] = {"required": ["sid"], "properties": {"sid": {"type": "string"}}}
    for target in (schema, *schema.get("$defs", {}).values()):
        if {"sid", "epoch", "seq"} <= target["properties"].keys():
            target["oneOf"] = _ONE_TARGET
    return schema


_ONE_TARGET: Final = [
    {"required": ["sid"], "properties": {"sub": False, "epoch": False}},
    {"required": ["sub", "epoch"], "properties": {"sid": False}},
]
"""A revocation ends a session, or what a subject has of a lower epoch."""


def trust_root_schema() -> Schema:
    """Of the file with the trust root's public keys: the present one, and perhaps the next."""
    return {
        "title": "TrustRoot",
        "description": "The public keys that a key set statement may be signed with.",
        "type": "object",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "minItems": 1, "maxItems": 2, "items": _JWK}},
    }


def _add_jwk(definitions: Schema) -> None:
    key = definitions["KeyClaims"]
    key["required"] = [*_JWK["required"], *key["required"]]
    key["properties"] = _JWK["properties"] | key["properties"]
    definitions["ClientClaims"]["properties"]["enc"] = {
        "anyOf": [_JWK, {"type": "null"}],
        "default": None,
        "description": "The key that the client is written to with (EC P-256).",
    }


def _kind_of_seal(kind: str, required: frozenset[str], absent: frozenset[str]) -> Schema:
    return {
        "if": {"properties": {"k": {"const": kind}}, "required": ["k"]},
        "then": {
            "required": sorted(required),
            "properties": dict.fromkeys(sorted(absent), False),
        },
    }


def headers_schema(*, carnet: bool, command: bool = False) -> Schema:
    """Of the AMQP headers of a message."""
    properties: Schema = {
        CARNET_SEAL: _text("The seal (`claims/seal.json`).", COMPACT_JWS, MAX_TOKEN),
        "traceparent": _text("W3C Trace Context; under no seal."),
        "tracestate": _text("W3C Trace Context; under no seal.", longest=512),
    }
    required = [CARNET_SEAL]
    if carnet:
        pattern = COMPACT_JWS.replace("^", f"^{BEARER}", 1)
        properties[AUTHORIZATION] = _text(
            "`Bearer` and the carnet (`claims/carnet.json`).", pattern, len(BEARER) + MAX_TOKEN
        )
        required.append(AUTHORIZATION)
    if command:
        properties[SHARD] = _text("Number of the shard, where there are several.", "^[0-9]+$")
        properties[JOURNEY] = _text(
            "That its sender wants to see it travel; a hint, under no seal.", f"^{MARK}$"
        )
        properties[CARNET_RELEASE] = _text(
            "A release (`claims/release.json`), on what an operator has released.",
            COMPACT_JWS,
            MAX_TOKEN,
        )
    return {"type": "object", "required": sorted(required), "properties": properties}


def _text(description: str, pattern: str | None = None, longest: int | None = None) -> Schema:
    return {
        "description": description,
        "type": "string",
        **({} if pattern is None else {"pattern": pattern}),
        **({} if longest is None else {"maxLength": longest}),
    }


def _plain(model: type[Any], mode: Literal["validation", "serialization"]) -> Schema:
    schema: Schema = _as_meant(TypeAdapter(model).json_schema(mode=mode))
    schema["title"] = model.__name__
    return schema


def _as_meant(value: Any, *, names: bool = False) -> Any:
    """As pydantic means it, without its titles, which repeat the properties' names.

    names: whether the keys are names of properties, of which one may be `title`.
    """
    if isinstance(value, list):
        return [_as_meant(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: _as_meant(inner, names=key in {"properties", "$defs"} and not names)
        for key, inner in value.items()
        if names or key != "title" or not isinstance(inner, str)
    }
    if not names and "patternProperties" in kept:  # pydantic takes no other names, and says it not
        kept.setdefault("additionalProperties", False)
    return kept
