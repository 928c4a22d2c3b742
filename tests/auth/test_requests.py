"""A request is fresh and addressed, and otherwise judged as a command is."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.claims import LEEWAY
from auth.errors import Code, RefusalError
from auth.policy import requires
from auth.seal import MAX_REQUEST_AGE
from tests.auth.forge import (
    ABSENT,
    ALICE,
    GATEWAY,
    LISTED,
    NOW,
    REPLY_QUEUE,
    REPORTS,
    SESSION,
    Scene,
    parties,
    public_request_scene,
    request_scene,
)

Change = Callable[[Scene], Scene]


def _session_ended(scene: Scene) -> Scene:
    scene.revocations.revoke_session(SESSION, until=NOW + 900)
    return scene


ROWS: dict[Code, dict[str, Change]] = {
    Code.MISSING_TOKEN: {
        "it has no carnet": lambda s: s.with_headers(authorization=ABSENT),
        "it has no seal": lambda s: s.with_headers(carnet_seal=ABSENT),
    },
    Code.UNKNOWN_KEY: {
        "a stranger sealed it": lambda s: replace(s, seal=s.seal.with_key(parties().stranger)),
    },
    Code.WRONG_AUDIENCE: {"its carnet is for another": lambda s: s.with_carnet(aud=REPORTS)},
    Code.WRONG_CLIENT: {
        "it is sealed by another client": lambda s: replace(
            s, seal=s.seal.but(iss=REPORTS).with_key(parties().reports)
        ),
    },
    Code.TYPE_NOT_ALLOWED: {
        "its client may not ask this": lambda s: replace(
            s.with_seal(ty=LISTED.type), route=replace(s.route, type=LISTED.type)
        ),
    },
    Code.SEAL_MISMATCH: {
        "its answer is to go elsewhere": lambda s: replace(s, reply_to="carnet.report-service.1"),
        "its answer is to go nowhere": lambda s: replace(s, reply_to=None),
        "its answer is to go to an empty name": lambda s: replace(s, reply_to=""),
        "it is sealed for another answer": lambda s: s.with_seal(rt="carnet.report-service.1"),
        "it is sealed for no answer": lambda s: s.with_seal(rt=ABSENT),
        "it is sealed for no answer and wants none": lambda s: replace(
            s.with_seal(rt=ABSENT), reply_to=None
        ),
        "it is sealed as a command": lambda s: s.with_seal(k="cmd"),
        "it is sealed as a reply": lambda s: s.with_seal(k="rep"),
        "it is sealed for another service": lambda s: s.with_seal(aud=REPORTS),
        "its body is another": lambda s: replace(s, sent_body=b"{}"),
    },
    Code.NOT_YET_VALID: {"it is from the future": lambda s: s.with_seal(iat=NOW + 31)},
    Code.EXPIRED: {
        "its carnet is expired": lambda s: replace(
            s.with_carnet(iat=NOW - 300, exp=NOW).with_seal(iat=NOW, exp=NOW + 100),
            now=NOW + LEEWAY + 0.001,
        ),
    },
    Code.LIFETIME_TOO_LONG: {
        "it lives longer than two minutes": lambda s: s.with_seal(exp=NOW + MAX_REQUEST_AGE + 1),
        "it ends before it begins": lambda s: s.with_seal(exp=NOW - 1),
    },
    Code.TOO_OLD: {"it is over": lambda s: replace(s, now=NOW + 60 + LEEWAY + 0.001)},
    Code.REVOKED: {"its session was ended": _session_ended},
    Code.INSUFFICIENT_SCOPE: {
        "it lacks the scope": lambda s: replace(s, policy=requires("orders:admin"))
    },
}
GENUINE = {Code.NOT_YET_VALID, Code.EXPIRED, Code.LIFETIME_TOO_LONG, Code.TOO_OLD, Code.REVOKED}
GENUINE |= {Code.INSUFFICIENT_SCOPE}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(change, code, id=f"{code}: {name}")
        for code, rows in ROWS.items()
        for name, change in rows.items()
    ],
)
def test_a_request_is_refused_when(change: Change, code: Code) -> None:
    scene = change(request_scene())

    with pytest.raises(RefusalError) as refusal:
        scene.judge()

    assert refusal.value.code == code
    assert (refusal.value.authenticated is not None) == (code in GENUINE)


def test_a_genuine_request_gives_its_principal_and_its_caller() -> None:
    judged = request_scene().judge()

    assert judged.principal is not None
    assert (judged.principal.subject, judged.seal.iss) == (ALICE, GATEWAY)
    assert judged.seal.rt == REPLY_QUEUE


def test_a_request_as_long_as_it_may_be_is_accepted() -> None:
    request_scene().with_seal(exp=NOW + MAX_REQUEST_AGE).judge()


def test_a_public_request_says_which_client_asks_and_no_more() -> None:
    judged = public_request_scene().judge()

    assert (judged.seal.iss, judged.principal, judged.carnet) == (GATEWAY, None, None)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda s: s.with_headers(carnet_seal=ABSENT), Code.MISSING_TOKEN, id="bare"),
        pytest.param(
            lambda s: s.with_headers(authorization="Bearer e30.e30.AA"),
            Code.SEAL_MISMATCH,
            id="with a carnet",
        ),
        pytest.param(
            lambda s: s.with_headers(Authorization=7), Code.SEAL_MISMATCH, id="with another header"
        ),
        pytest.param(
            lambda s: replace(s, sent_body=b"{}"), Code.SEAL_MISMATCH, id="with another body"
        ),
        pytest.param(
            lambda s: s.with_seal(aud=REPORTS), Code.SEAL_MISMATCH, id="for another service"
        ),
        pytest.param(lambda s: s.with_seal(k="cmd"), Code.SEAL_MISMATCH, id="that is a command"),
        pytest.param(
            lambda s: replace(s, reply_to="elsewhere"),
            Code.SEAL_MISMATCH,
            id="to be answered elsewhere",
        ),
        pytest.param(
            lambda s: s.with_seal(exp=NOW + MAX_REQUEST_AGE + 1),
            Code.LIFETIME_TOO_LONG,
            id="of a long life",
        ),
        pytest.param(
            lambda s: replace(s, now=NOW + 60 + LEEWAY + 0.001), Code.TOO_OLD, id="that is over"
        ),
        pytest.param(
            lambda s: replace(s, policy=requires("orders:read")),
            Code.MISSING_TOKEN,
            id="to a handler that wants a carnet",
        ),
    ],
)
def test_a_public_request_is_refused(change: Change, code: Code) -> None:
    with pytest.raises(RefusalError) as refusal:
        change(public_request_scene()).judge()

    assert refusal.value.code == code
