"""A reply is believed of the service that was asked, for the one request that it answers."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.claims import LEEWAY
from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.seal import MAX_REQUEST_AGE
from tests.auth.forge import (
    ABSENT,
    GATEWAY,
    NOW,
    ORDERS,
    REPORTS,
    REQUEST_ID,
    Scene,
    parties,
    reply_scene,
)

Change = Callable[[Scene], Scene]

ROWS: dict[Code, dict[str, Change]] = {
    Code.MISSING_TOKEN: {"it has no seal": lambda s: s.with_headers(carnet_seal=ABSENT)},
    Code.DUPLICATE_TOKEN: {
        "it has two seals": lambda s: replace(s, headers={"Carnet-Seal": "x"}),
    },
    Code.OVERSIZED_TOKEN: {"its seal is long": lambda s: s.with_headers(carnet_seal="A" * 4097)},
    Code.MALFORMED_TOKEN: {"its seal is none": lambda s: s.with_headers(carnet_seal="x.y")},
    Code.MALFORMED_HEADER: {
        "its seal's header is wider": lambda s: replace(s, seal=s.seal.with_header(b64=False)),
    },
    Code.WRONG_TYPE: {
        "its seal is a carnet": lambda s: replace(s, seal=s.seal.with_header(typ="carnet+jwt")),
    },
    Code.ALGORITHM_NOT_ALLOWED: {
        "its alg is none": lambda s: replace(s, seal=s.seal.with_header(alg="none")),
    },
    Code.UNKNOWN_KEY: {
        "a stranger sealed it": lambda s: replace(s, seal=s.seal.with_key(parties().stranger)),
        "the issuer sealed it": lambda s: replace(s, seal=s.seal.with_key(parties().issuer)),
        "another client sealed it in its name": lambda s: replace(
            s, seal=s.seal.with_key(parties().reports)
        ),
    },
    Code.KEY_MISMATCH: {
        "its alg is another key's": lambda s: replace(s, seal=s.seal.with_header(alg="RS256")),
    },
    Code.KEY_RETIRED: {
        "its key was retired": lambda s: replace(
            s,
            seal=s.seal.but(iss=GATEWAY).with_key(parties().gateway_retired),
            responder=GATEWAY,
        ),
    },
    Code.BAD_SIGNATURE: {
        "it is forged": lambda s: replace(
            s, seal=s.seal.with_key(parties().stranger).with_header(kid=parties().orders.kid)
        ),
    },
    Code.MALFORMED_CLAIMS: {"it has no id": lambda s: s.with_seal(jti=ABSENT)},
    Code.WRONG_CLIENT: {
        "another service answers": lambda s: replace(
            s, seal=s.seal.but(iss=REPORTS).with_key(parties().reports)
        ),
        "the caller answers itself": lambda s: replace(
            s, seal=s.seal.but(iss=GATEWAY).with_key(parties().gateway)
        ),
    },
    Code.SEAL_MISMATCH: {
        "it answers another request": lambda s: s.with_seal(re="request-000000000000002"),
        "it answers no request": lambda s: s.with_seal(re=ABSENT),
        "it is for another client": lambda s: s.with_seal(aud=REPORTS),
        "it is for no client": lambda s: s.with_seal(aud=ABSENT),
        "it is sealed as a request": lambda s: s.with_seal(k="req"),
        "it is sealed as an event": lambda s: s.with_seal(k="evt"),
        "its body is another": lambda s: replace(s, sent_body=b'{"ok":{}}'),
        "its type is another": lambda s: replace(s, sent_type="orders.get.v1.reply"),
        "it is sealed for another type": lambda s: s.with_seal(ty="orders.get.v1.reply"),
        "it is sealed for another queue": lambda s: s.with_seal(rk="carnet.report-service.1"),
        "it is sealed for another exchange": lambda s: s.with_seal(ex="carnet.events"),
    },
    Code.NOT_YET_VALID: {"it is from the future": lambda s: s.with_seal(iat=NOW + 31)},
    Code.LIFETIME_TOO_LONG: {
        "it lives longer than a request": lambda s: s.with_seal(exp=NOW + MAX_REQUEST_AGE + 1),
        "it ends before it begins": lambda s: s.with_seal(exp=NOW - 1),
    },
    Code.TOO_OLD: {"it is over": lambda s: replace(s, now=NOW + 60 + LEEWAY + 0.001)},
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(change, code, id=f"{code}: {name}")
        for code, rows in ROWS.items()
        for name, change in rows.items()
    ],
)
def test_a_reply_is_refused_when(change: Change, code: Code) -> None:
    with pytest.raises(RefusalError) as refusal:
        change(reply_scene()).judge()

    assert refusal.value.code == code


def test_a_genuine_reply_says_whose_it_is() -> None:
    judged = reply_scene().judge()

    assert (judged.seal.iss, judged.seal.re, judged.principal) == (ORDERS, REQUEST_ID, None)


def test_a_reply_needs_no_right_to_publish() -> None:
    """Whoever was asked may answer; what it may publish unasked is another matter."""
    draft = parties().draft()
    draft.grant(ORDERS, publishes=frozenset(), exchanges=frozenset(), scopes=frozenset())

    replace(reply_scene(), key_set=parties().key_set(draft)).judge()


def test_no_reply_is_judged_by_an_expired_statement() -> None:
    scene = reply_scene()

    with pytest.raises(TrustUnavailableError):
        replace(scene, now=scene.key_set.expires_at + 1).judge()
