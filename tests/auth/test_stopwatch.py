"""A verifier with a watch in it judges as any other, and says what each check took."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.errors import CHECK_OF, Check, RefusalError
from auth.message import VerifiedMessage
from auth.stopwatch import Stopwatch, TimedVerifier
from auth.trust import FixedTrust
from tests.auth.forge import NOW, SESSION, Scene, carnet, command_scene, parties

TICK = 1.0
"""What each look at the test's timer costs, so that no check takes no time."""


def watched(scene: Scene) -> tuple[VerifiedMessage | RefusalError, Stopwatch]:
    ticks = itertools.count(step=TICK)
    watch = Stopwatch(lambda: next(ticks))
    verifier = TimedVerifier(
        FixedTrust(scene.key_set, scene.revocations), audience=scene.audience, watch=watch
    )
    try:
        verdict = verifier.command(
            scene.message(), scene.route, scene.policy, scene.expiry, now=scene.now
        )
    except RefusalError as refusal:
        return refusal, watch
    return verdict, watch


def test_every_check_of_a_genuine_command_has_its_time() -> None:
    scene = command_scene()

    verdict, watch = watched(scene)

    assert isinstance(verdict, VerifiedMessage)
    assert verdict.principal == scene.judge().principal
    assert set(watch.seconds) == set(Check) - {Check.INBOX}
    assert min(watch.seconds.values()) >= TICK


def test_a_known_carnet_is_timed_in_full() -> None:
    """What a verifier remembers would hide what the checks take."""
    scene = command_scene()
    first, second = watched(scene)[1], watched(scene)[1]

    assert first.seconds == second.seconds


def test_the_watch_stops_with_the_verification() -> None:
    _, watch = watched(command_scene())
    before = dict(watch.seconds)

    watch.enter(None)

    assert watch.seconds == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s.with_headers(authorization=7), id="presence"),
        pytest.param(lambda s: s.with_headers(carnet_seal="x"), id="form"),
        pytest.param(lambda s: replace(s, carnet=carnet().with_header(zip="DEF")), id="header"),
        pytest.param(lambda s: replace(s, carnet=carnet().with_header(typ="JWT")), id="algorithm"),
        pytest.param(lambda s: replace(s, seal=s.seal.with_header(kid="x")), id="key"),
        pytest.param(
            lambda s: replace(
                s,
                seal=s.seal.with_key(parties().stranger).with_header(kid=parties().gateway.kid),
            ),
            id="signature",
        ),
        pytest.param(
            lambda s: replace(s, seal=replace(s.seal, write_payload=lambda _: "{")), id="claims"
        ),
        pytest.param(lambda s: s.with_carnet(aud="user-service"), id="audience"),
        pytest.param(lambda s: replace(s, sent_body=b""), id="seal"),
        pytest.param(lambda s: replace(s, now=NOW + 9999), id="time"),
        pytest.param(lambda s: s.with_carnet(scope="orders:read"), id="scope"),
    ],
)
def test_a_refusal_is_the_verifiers_own_and_the_watch_stops_at_its_check(
    change: Callable[[Scene], Scene],
) -> None:
    scene = change(command_scene())
    with pytest.raises(RefusalError) as usual:
        scene.judge()

    verdict, watch = watched(scene)

    assert isinstance(verdict, RefusalError)
    assert (verdict.code, verdict.detail) == (usual.value.code, usual.value.detail)
    assert max(watch.seconds) == CHECK_OF[verdict.code]


def test_a_revocation_is_timed_where_it_refuses() -> None:
    scene = command_scene()
    scene.revocations.revoke_session(SESSION, until=NOW + 9999)

    verdict, watch = watched(scene)

    assert isinstance(verdict, RefusalError)
    assert verdict.code == "revoked"
    assert max(watch.seconds) == Check.REVOCATION
