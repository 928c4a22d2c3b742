"""A receiver takes its caller's work a hop further: with less, never with more or for longer."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.checks import bearer_token, only_header
from auth.claims import LEEWAY
from auth.errors import Code, RefusalError
from auth.jws import parse_claims
from auth.message import AUTHORIZATION, CARNET_SEAL
from auth.revocation import RevocationList
from auth.strict import parse_token
from auth.tokens import CarnetClaims, Issuer
from auth.trust import FixedTrust
from auth.verifier import Verifier
from tests.auth.forge import (
    ABSENT,
    ALICE,
    GATEWAY,
    ISSUER,
    NOW,
    ORDERS,
    PLACED,
    REPORTS,
    SESSION,
    Scene,
    carnet,
    command_scene,
    parties,
    request_scene,
)

Change = Callable[[Scene], Scene]


def verify(scene: Scene) -> CarnetClaims:
    """What the issuer says to the receiver of the scene's message."""
    trust = FixedTrust(scene.key_set, scene.revocations)
    message = scene.message()
    seal = only_header(message, CARNET_SEAL)
    text = bearer_token(only_header(message, AUTHORIZATION))
    return Verifier(trust, audience=scene.audience).onward(text, seal, now=scene.now)


@pytest.mark.parametrize("scene", [command_scene(), request_scene()], ids=["command", "request"])
def test_the_carnet_of_a_message_is_good_for_its_receiver(scene: Scene) -> None:
    claims = verify(scene)

    assert (claims.sub, claims.actors) == (ALICE, (GATEWAY,))


def _withdrawn(scene: Scene) -> Scene:
    """The carnet came through a client that the root has withdrawn since."""
    draft = parties().draft()
    draft.withdraw_client(REPORTS)
    through = {"sub": GATEWAY, "act": {"sub": REPORTS}}
    return replace(scene.with_carnet(act=through), key_set=parties().key_set(draft))


def _revoked(scene: Scene) -> Scene:
    revocations = RevocationList()
    revocations.revoke_session(SESSION, until=NOW + 900)
    return replace(scene, revocations=revocations)


REFUSED: dict[str, tuple[Change, Code]] = {
    "it is addressed to another service": (
        lambda scene: replace(scene, audience=REPORTS),
        Code.SEAL_MISMATCH,
    ),
    "only its seal is addressed to the one who asks": (
        lambda scene: replace(scene.with_seal(aud=REPORTS), audience=REPORTS),
        Code.WRONG_AUDIENCE,
    ),
    "its seal is for another receiver": (
        lambda scene: scene.with_seal(aud=REPORTS),
        Code.SEAL_MISMATCH,
    ),
    "it was sealed by another client": (
        lambda scene: replace(
            scene, seal=scene.seal.but(iss=ORDERS, ty=PLACED.type).with_key(parties().orders)
        ),
        Code.WRONG_CLIENT,
    ),
    "its seal is of another carnet": (
        lambda scene: scene.with_seal(ath="A" * 43),
        Code.SEAL_MISMATCH,
    ),
    "its seal is a reply's": (lambda scene: scene.with_seal(k="rep"), Code.SEAL_MISMATCH),
    "its seal is of a type that its client may not publish": (
        lambda scene: scene.with_seal(ty="orders.burn.v1"),
        Code.TYPE_NOT_ALLOWED,
    ),
    "its seal is not wanted any more": (
        lambda scene: replace(scene.with_seal(exp=NOW), now=NOW + LEEWAY + 1),
        Code.TOO_OLD,
    ),
    "it is expired, if only just": (lambda scene: replace(scene, now=NOW + 300), Code.EXPIRED),
    "it lives for longer than carnets do": (
        lambda scene: scene.with_carnet(exp=NOW + 301),
        Code.LIFETIME_TOO_LONG,
    ),
    "it was expired when the work was accepted": (
        lambda scene: scene.with_carnet(iat=NOW - 300, exp=NOW - 1),
        Code.EXPIRED,
    ),
    "its session was revoked": (_revoked, Code.REVOKED),
    "it came through a client that was withdrawn": (_withdrawn, Code.REVOKED),
    "it is another issuer's": (lambda scene: scene.with_carnet(iss="another"), Code.WRONG_ISSUER),
    "it is signed by a client": (
        lambda scene: replace(scene, carnet=carnet().with_key(parties().gateway)),
        Code.UNKNOWN_KEY,
    ),
    "it is an access token": (
        lambda scene: replace(scene, carnet=carnet().with_header(typ="at+jwt")),
        Code.WRONG_TYPE,
    ),
    "four have acted for it": (
        lambda scene: scene.with_carnet(
            act={"sub": GATEWAY, "act": {"sub": "c3", "act": {"sub": "c2", "act": {"sub": "c1"}}}}
        ),
        Code.MALFORMED_CLAIMS,
    ),
}


@pytest.mark.parametrize(("change", "code"), REFUSED.values(), ids=list(REFUSED))
def test_a_carnet_is_good_for_no_further_hop_when(change: Change, code: Code) -> None:
    with pytest.raises(RefusalError) as refusal:
        verify(change(command_scene()))

    assert refusal.value.code == code


def issued(text: str) -> CarnetClaims:
    return parse_claims(parse_token(text), CarnetClaims)


def parent(**claims: object) -> CarnetClaims:
    return issued(carnet().but(**claims).text)


def onward(of: CarnetClaims, *, actor: str | None = ORDERS, now: float = NOW + 100) -> CarnetClaims:
    issuer = Issuer(ISSUER, parties().issuer)
    scopes = frozenset({"orders:read"})
    return issued(issuer.carnet(of, actor=actor, audience=REPORTS, scopes=scopes, now=now))


def test_the_next_carnet_names_the_new_actor_before_the_earlier_ones() -> None:
    claims = onward(parent())

    assert (claims.sub, claims.sid, claims.epoch) == (ALICE, SESSION, 3)
    assert (claims.aud, claims.scope) == (REPORTS, "orders:read")
    assert claims.actors == (ORDERS, GATEWAY)
    assert claims.exp == NOW + 300  # no later than the one before


def test_nobody_acts_in_the_name_of_the_one_before() -> None:
    """Not even for a service: what it gave away says so."""
    own = parent(sub=f"service:{REPORTS}", sid=ABSENT)

    with pytest.raises(ValueError, match="names the client"):
        onward(own, actor=None)


def test_no_carnet_names_a_fourth_actor() -> None:
    third = parent(act={"sub": GATEWAY, "act": {"sub": "c2", "act": {"sub": "c1"}}})

    with pytest.raises(ValueError, match="too deep"):
        onward(third)


def test_no_carnet_is_made_of_an_expired_one() -> None:
    with pytest.raises(ValueError, match="outlives"):
        onward(parent(), now=NOW + 300)
