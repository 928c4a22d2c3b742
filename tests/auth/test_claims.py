"""Claims are strict JSON of strict types, under a signature that holds (RFC 7519 §4)."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.errors import Code, RefusalError
from tests.auth.forge import (
    ABSENT,
    ALICE,
    NOW,
    Token,
    access_token,
    carnet,
    command_scene,
    judge_access_token,
)

Change = Callable[[Token], Token]
Values = dict[str, object]


def _judge(kind: str, change: Change) -> None:
    scene = command_scene()
    if kind == "access token":
        judge_access_token(change(access_token()))
    elif kind == "carnet":
        replace(scene, carnet=change(carnet())).judge()
    else:
        replace(scene, seal=change(scene.seal)).judge()


def _refusal_of(kind: str, change: Change) -> RefusalError:
    with pytest.raises(RefusalError) as refusal:
        _judge(kind, change)
    return refusal.value


NO_DATES: Values = {
    "a string": str(NOW),
    "a float": NOW + 0.5,
    "a whole float": float(NOW),
    "true": True,
    "a list": [NOW],
    "a table": {"at": NOW},
    "negative": -1,
    "in Arabic digits": "١٨٠٠٠٠٠٠٠٠",
    "too far away": 2**40 + 1,
    "infinite": float("inf"),
    "not a number": float("nan"),
    "too large for a float": 10**15,
}
NO_IDS: Values = {
    "null": None,
    "empty": "",
    "too short": "x" * 15,
    "too long": "x" * 65,
    "a number": 10**15,
    "a list": ["x" * 20],
    "with a line break": "x" * 20 + "\n",
    "with a NUL": "x" * 20 + "\0",
    "with a slash": "x" * 20 + "/",
    "with a homoglyph": "x" * 20 + "\u0445",
}
NO_SUBJECTS: Values = {
    "null": None,
    "empty": "",
    "a client id": "api-gateway",
    "a service of no name": "service:",
    "a service of another form": "service:Order-Service",
    "a service with a path": "service:order-service/../user-service",
    "in upper case": ALICE.upper(),
    "in braces": "{" + ALICE + "}",
    "a URN": f"urn:uuid:{ALICE}",
    "with a homoglyph": ALICE.replace("e", "\u0435", 1),
    "with a line break": ALICE + "\n",
    "with a blank": " " + ALICE,
    "without dashes": ALICE.replace("-", ""),
    "a list": [ALICE],
    "a number": 7,
}
NO_NAMES: Values = {
    "null": None,
    "empty": "",
    "a list": ["user-service"],
    "a table": {"name": "user-service"},
    "a number": 7,
    "too long": "x" * 256,
}
NO_CLIENTS: Values = {
    "null": None,
    "empty": "",
    "a list that contains us": ["order-service", "api-gateway"],
    "a list of us alone": ["order-service"],
    "a table": {"order-service": True},
    "a number": 7,
    "in upper case": "ORDER-SERVICE",
    "with a blank": "order-service ",
    "with a line break": "order-service\n",
    "with a homoglyph": "\u043erder-service",
    "a URL": "https://order-service",
    "too long": "x" * 64,
}
NO_SCOPES: Values = {
    "null": None,
    "a list": ["orders:write"],
    "a table": {"orders:write": True},
    "with a blank before": " orders:write",
    "with a blank after": "orders:write ",
    "with two blanks": "orders:read  orders:write",
    "with a tab": "orders:read\torders:write",
    "with a line break": "orders:write\n",
    "with a quote": 'orders:write"',
    "with a backslash": "orders:write\\",
    "with a letter that is not ASCII": "orders:wrît",
    "too long": "x" * 1001,
}
NO_EPOCHS: Values = {
    "null": None,
    "a string": "3",
    "a float": 3.0,
    "true": True,
    "negative": -1,
    "too large": 2**31 + 1,
    "a list": [3],
}
NO_DIGESTS: Values = {
    "null": None,
    "empty": "",
    "too short": "A" * 42,
    "too long": "A" * 44,
    "in hex": "a" * 64,
    "padded": "A" * 42 + "=",
    "a list": ["A" * 43],
}
NO_ACTORS: Values = {
    "a string": "api-gateway",
    "a list": [{"sub": "api-gateway"}],
    "of no name": {},
    "of an empty name": {"sub": ""},
    "a user": {"sub": "service:api-gateway"},
    "nested as a string": {"sub": "api-gateway", "act": "order-service"},
    "nested four deep": {
        "sub": "api-gateway",
        "act": {"sub": "aa", "act": {"sub": "bb", "act": {"sub": "cc"}}},
    },
}
ABSENTS: Values = {"absent": ABSENT}

TABLES: list[tuple[str, str, Values]] = [
    *(
        (kind, claim, {**NO_DATES, **ABSENTS})
        for kind in ("access token", "carnet", "seal")
        for claim in ("iat", "exp")
    ),
    *((kind, "nbf", NO_DATES) for kind in ("access token", "carnet", "seal")),
    *((kind, "jti", {**NO_IDS, **ABSENTS}) for kind in ("access token", "carnet", "seal")),
    *((kind, "iss", {**NO_NAMES, **ABSENTS}) for kind in ("access token", "carnet")),
    *((kind, "sub", {**NO_SUBJECTS, **ABSENTS}) for kind in ("access token", "carnet")),
    *((kind, "aud", {**NO_CLIENTS, **ABSENTS}) for kind in ("access token", "carnet")),
    *((kind, "scope", {**NO_SCOPES, **ABSENTS}) for kind in ("access token", "carnet")),
    *((kind, "epoch", {**NO_EPOCHS, **ABSENTS}) for kind in ("access token", "carnet")),
    *((kind, "sid", {**NO_IDS, **ABSENTS}) for kind in ("access token", "carnet")),
    ("access token", "client_id", {**NO_CLIENTS, **ABSENTS}),
    ("access token", "auth_time", NO_DATES),
    ("carnet", "act", NO_ACTORS),
    ("seal", "iss", {**NO_CLIENTS, **ABSENTS}),
    ("seal", "aud", {k: v for k, v in NO_CLIENTS.items() if v}),
    (
        "seal",
        "k",
        {"absent": ABSENT, "null": None, "empty": "", "unknown": "command", "a list": ["cmd"]},
    ),
    ("seal", "bh", {**NO_DIGESTS, **ABSENTS}),
    ("seal", "ath", {k: v for k, v in NO_DIGESTS.items() if v}),
    *(("seal", claim, {**NO_NAMES, **ABSENTS}) for claim in ("ex", "rk", "ty")),
    ("seal", "sub", {k: v for k, v in NO_SUBJECTS.items() if v}),
    ("seal", "cause", {k: v for k, v in NO_IDS.items() if v}),
    ("seal", "rt", {k: v for k, v in NO_NAMES.items() if v}),
    ("seal", "re", {k: v for k, v in NO_IDS.items() if v}),
]


@pytest.mark.parametrize(
    ("kind", "claim", "value"),
    [
        pytest.param(kind, claim, value, id=f"{kind}: {claim} is {name}")
        for kind, claim, values in TABLES
        for name, value in values.items()
    ],
)
def test_claims_are_refused_as_malformed_when(kind: str, claim: str, value: object) -> None:
    refusal = _refusal_of(kind, lambda token: token.but(**{claim: value}))

    assert refusal.code == Code.MALFORMED_CLAIMS
    assert claim in refusal.detail or "payload" in refusal.detail or claim == "act"


def _written(write: Callable[[str], str | bytes]) -> Change:
    """A payload written by hand from the genuine one's JSON, under a signature that holds."""
    return lambda token: replace(token, write_payload=write)


def _with(member: str) -> Change:
    return _written(lambda document: f"{document[:-1]}, {member}}}")


PAYLOADS = {
    "no JSON": _written(lambda document: document[:-1]),
    "JSON with more after it": _written(lambda document: document + "{}"),
    "JSON with a comment": _written(lambda document: document + " // so"),
    "JSON with a comma too many": _written(lambda document: document[:-1] + ",}"),
    "JSON with single quotes": _written(lambda document: document.replace('"', "'")),
    "a list": _written(lambda document: f"[{document}]"),
    "a string": _written(json.dumps),
    "a number": _written(lambda _: "1"),
    "null": _written(lambda _: "null"),
    "after a byte order mark": _written(lambda document: b"\xef\xbb\xbf" + document.encode()),
    "UTF-16": _written(lambda document: document.encode("utf-16-le")),
    "UTF-32": _written(lambda document: document.encode("utf-32")),
    "Latin-1": _written(lambda document: document.encode()[:-1] + b', "x": "\xe9"}'),
    "overlong UTF-8": _written(lambda document: document.encode()[:-1] + b', "x": "\xc0\xae"}'),
    "holding a claim twice": _with(f'"exp": {NOW + 1}'),
    "holding a claim twice, once in escapes": _with(f'"\\u0065xp": {NOW + 1}'),
    "holding a key twice far inside": _with('"x": [{"y": {"a": 1, "a": 1}}]'),
    "holding NaN": _with('"x": NaN'),
    "holding Infinity": _with('"x": Infinity'),
    "holding -Infinity": _with('"x": -Infinity'),
    "holding Infinity by another name": _with('"x": 1e999'),
    "holding an integer of 17 digits": _with('"x": 10000000000000000'),
    "holding an integer of 2000 digits": _with('"x": ' + "9" * 2000),
    "holding a number in Arabic digits": _with('"x": ١٢'),
    "holding a number with a zero before": _with('"x": 012'),
    "holding a number in hex": _with('"x": 0x10'),
    "holding a lone surrogate": _with('"x": "\\ud800"'),
    "holding a lone surrogate as a key": _with('"\\udfff": 1'),
    "holding a lone surrogate far inside": _with('"x": [[{"y": "\\ud800"}]]'),
    "holding a NUL": _with('"x": "\\u0000"'),
    "holding a raw control character": _with('"x": "\x01"'),
    "nested 17 deep": _with('"x": ' + "[" * 16 + "]" * 16),
    "nested 500 deep": _with('"x": ' + "[" * 500 + "]" * 500),
    "nested 1200 deep": _with('"x": ' + "[" * 1200 + "]" * 1200),
    "nested deep in tables": _with('"x": ' + '{"a":' * 200 + "1" + "}" * 200),
}


@pytest.mark.parametrize("kind", ["access token", "carnet", "seal"])
@pytest.mark.parametrize("change", [pytest.param(v, id=k) for k, v in PAYLOADS.items()])
def test_a_payload_is_refused_that_is(kind: str, change: Change) -> None:
    refusal = _refusal_of(kind, change)

    assert refusal.code == Code.MALFORMED_CLAIMS
    assert refusal.detail.startswith("payload: ")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_with('"x": "\\u00e9"'), id="an escape that is a letter"),
        pytest.param(_with('"x": "\\ud83c\\udf75"'), id="a pair of surrogates"),
        pytest.param(_with('"x": 1.5e3'), id="a finite number"),
        pytest.param(_with('"x": ' + "9" * 16), id="an integer of 16 digits"),
        pytest.param(_with('"x": [' + "[], " * 40 + "{}]"), id="a claim that is wide"),
        pytest.param(_with('"x": ' + "[" * 15 + "]" * 15), id="a claim nested 16 deep"),
        pytest.param(_with('"x": "' + "[{" * 40 + '"'), id="brackets in a string"),
    ],
)
def test_claims_that_are_not_understood_are_ignored(change: Change) -> None:
    """RFC 7519 §4: "all claims that are not understood by implementations MUST be ignored"."""
    for kind in ("access token", "carnet", "seal"):
        _judge(kind, change)


def test_a_refusal_names_claims_and_quotes_no_value() -> None:
    refusal = _refusal_of("carnet", lambda token: token.but(sid="secret", scope=["secret"]))

    assert refusal.detail == "missing or mistyped: scope, sid"
    assert refusal.__cause__ is None
    assert refusal.__suppress_context__
