"""An event is believed of the client whose rights name its type."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.claims import LEEWAY
from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.seal import MAX_EVENT_AGE
from auth.trust import FixedTrust
from auth.verifier import Verifier
from tests.auth.forge import (
    ABSENT,
    ALICE,
    GATEWAY,
    NOW,
    ORDERS,
    PLACED,
    REPORTS,
    REQUEST_ID,
    Scene,
    event_scene,
    parties,
)

Change = Callable[[Scene], Scene]


def _shared(scene: Scene) -> Scene:
    """The same, where the trust root has given two clients the event's type."""
    draft = parties().draft()
    draft.grant(
        REPORTS,
        publishes=frozenset({"reports.done.v1", PLACED.type}),
        exchanges=frozenset(),
        scopes=frozenset(),
    )
    return replace(scene, key_set=parties().key_set(draft))


ROWS: dict[Code, dict[str, Change]] = {
    Code.MISSING_TOKEN: {"it has no seal": lambda s: s.with_headers(carnet_seal=ABSENT)},
    Code.UNKNOWN_KEY: {
        "a stranger sealed it": lambda s: replace(s, seal=s.seal.with_key(parties().stranger)),
        "the issuer sealed it": lambda s: replace(s, seal=s.seal.with_key(parties().issuer)),
        "another client sealed it in its name": lambda s: replace(
            s, seal=s.seal.with_key(parties().reports)
        ),
    },
    Code.BAD_SIGNATURE: {
        "it is forged": lambda s: replace(
            s, seal=s.seal.with_key(parties().stranger).with_header(kid=parties().orders.kid)
        ),
    },
    Code.TYPE_NOT_ALLOWED: {
        "a client without the right sealed it": lambda s: replace(
            s, seal=s.seal.but(iss=REPORTS).with_key(parties().reports)
        ),
        "its own receiver sealed it": lambda s: replace(
            s, seal=s.seal.but(iss=GATEWAY).with_key(parties().gateway)
        ),
    },
    Code.AMBIGUOUS_PUBLISHER: {
        "another client may publish its type as well": _shared,
        "the other client sealed it": lambda s: replace(
            _shared(s), seal=s.seal.but(iss=REPORTS).with_key(parties().reports)
        ),
    },
    Code.SEAL_MISMATCH: {
        "it names no subject": lambda s: s.with_seal(sub=ABSENT),
        "it names no cause": lambda s: s.with_seal(cause=ABSENT),
        "it is for one receiver": lambda s: s.with_seal(aud=GATEWAY),
        "it is sealed as a command": lambda s: s.with_seal(k="cmd"),
        "it is sealed as a reply": lambda s: s.with_seal(k="rep"),
        "its body is another": lambda s: replace(s, sent_body=b"{}"),
        "its type is another": lambda s: replace(s, sent_type="orders.refused.v1"),
        "it is sealed for another exchange": lambda s: s.with_seal(ex="carnet.commands"),
        "it is sealed for another routing key": lambda s: s.with_seal(rk="orders.refused"),
        "it comes to another handler": lambda s: replace(
            s, route=replace(s.route, routing_key="orders.refused")
        ),
    },
    Code.NOT_YET_VALID: {
        "it is from the future": lambda s: s.with_seal(iat=NOW + 31, exp=NOW + 60),
    },
    Code.LIFETIME_TOO_LONG: {
        "it lives longer than a week": lambda s: s.with_seal(exp=NOW + MAX_EVENT_AGE + 1),
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
def test_an_event_is_refused_when(change: Change, code: Code) -> None:
    with pytest.raises(RefusalError) as refusal:
        change(event_scene()).judge()

    assert refusal.value.code == code


def test_a_genuine_event_says_whose_act_it_records_and_what_caused_it() -> None:
    judged = event_scene().judge()

    assert (judged.seal.iss, judged.seal.sub, judged.seal.cause) == (ORDERS, ALICE, REQUEST_ID)
    assert judged.principal is None


def test_an_event_may_wait_for_a_week() -> None:
    scene = event_scene().with_seal(exp=NOW + MAX_EVENT_AGE)

    replace(scene, now=NOW + MAX_EVENT_AGE).judge()


def _again(before: Scene, after: Scene) -> None:
    """What is said of an event that was verified, and is to be acted on now."""
    trust = FixedTrust(after.key_set)
    verifier = Verifier(trust, audience=GATEWAY)
    genuine = before.judge()
    if after.key_set is before.key_set:
        genuine = Verifier(trust, audience=GATEWAY).event(before.message(), PLACED, now=NOW)
    assert verifier.event_again(genuine, after.message(), PLACED, now=after.now).seal == (
        genuine.seal
    )


def test_an_event_that_was_verified_is_good_for_as_long_as_it_is_believed() -> None:
    scene = event_scene()
    _again(scene, scene)

    with pytest.raises(RefusalError) as refusal:
        _again(scene, replace(scene, now=NOW + 60 + LEEWAY + 1))
    assert refusal.value.code == Code.TOO_OLD


def test_an_event_of_a_client_that_was_withdrawn_meanwhile_is_refused() -> None:
    draft = parties().draft()
    draft.withdraw_client(ORDERS)

    with pytest.raises(RefusalError) as refusal:
        _again(event_scene(), replace(event_scene(), key_set=parties().key_set(draft)))
    assert refusal.value.code == Code.UNKNOWN_KEY


def test_no_event_is_acted_on_under_a_silent_feed() -> None:
    scene = event_scene()
    verifier = Verifier(Silent(scene.key_set), audience=GATEWAY)
    genuine = verifier.event(scene.message(), PLACED, now=NOW)

    with pytest.raises(TrustUnavailableError):
        verifier.event_again(genuine, scene.message(), PLACED, now=NOW)


class Silent(FixedTrust):
    """Trust whose feed says nothing."""

    def require_fresh(self, now: float) -> None:
        raise TrustUnavailableError(f"silent at {now}")
