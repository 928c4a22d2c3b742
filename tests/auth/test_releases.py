"""A release stands in for the carnet's own checks, lifts what it names, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.claims import LEEWAY, service_subject
from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.explain import COMMAND_CHECKS, explain
from auth.jws import parse_claims
from auth.message import (
    AUTHORIZATION,
    BEARER,
    CARNET_RELEASE,
    CARNET_SEAL,
    UnverifiedMessage,
    VerifiedMessage,
)
from auth.policy import at_processing, public, requires
from auth.release import MAX_RELEASE_LIFE, Lift, ReleaseClaims, sign_release
from auth.statement import KeySetDraft
from auth.strict import parse_token
from auth.trust import FixedTrust
from auth.verifier import Verifier
from tests.auth.forge import (
    ALICE,
    GATEWAY,
    ISSUER,
    LIST,
    NOW,
    OPERATOR,
    SESSION,
    Scene,
    access_token,
    carnet,
    command_scene,
    parties,
    release,
)

Change = Callable[[Scene], Scene]

LATER = NOW + 26 * 3600
"""Long after the seal, the carnet and anybody's patience."""


def _late() -> Scene:
    """A command that came too late, and is released."""
    return replace(command_scene(), now=LATER, release=release(now=LATER))


def _without_old_issuer_key(scene: Scene) -> Scene:
    """The issuer's key has changed since, and the old one is listed no more."""
    draft = parties().draft()
    draft.withdraw_key("issuer", parties().issuer.kid)
    draft.promote("issuer", parties().issuer_next.kid, now=NOW)
    token = (scene.release or release()).with_key(parties().issuer_next)
    return replace(scene, key_set=parties().key_set(draft), release=token)


def _judge(scene: Scene) -> RefusalError:
    with pytest.raises(RefusalError) as refusal:
        scene.judge()
    return refusal.value


def test_a_release_lets_a_late_command_in_as_its_user_asked_for_it() -> None:
    message = _late().judge()

    assert message.principal is not None
    assert message.principal.subject == ALICE
    assert message.principal.scopes == {"orders:read", "orders:write"}
    assert message.principal.actors == (GATEWAY,)
    assert message.principal.session == SESSION
    assert message.carnet is None
    assert message.release is not None
    assert message.release.by == OPERATOR


def test_a_release_needs_no_key_that_signed_the_carnet() -> None:
    assert _without_old_issuer_key(_late()).judge().release is not None


def test_what_a_release_leaves_to_the_consumer_passes_every_check() -> None:
    verdicts = {result.verdict for result in explain(_late().judge, COMMAND_CHECKS)}

    assert verdicts == {"passed"}


BAD: dict[str, tuple[Change, str]] = {
    "is signed by a stranger": (
        lambda s: replace(
            s, release=release(now=LATER).with_key(parties().stranger).with_header(kid="x")
        ),
        "unknown_key",
    ),
    "is signed by a stranger in the issuer's name": (
        lambda s: replace(
            s,
            release=release(now=LATER)
            .with_key(parties().stranger)
            .with_header(kid=parties().issuer.kid),
        ),
        "bad_signature",
    ),
    "is signed by a client": (
        lambda s: replace(s, release=release(now=LATER).with_key(parties().gateway)),
        "unknown_key",
    ),
    "is signed by a key after its retirement": (
        lambda s: replace(s, release=release(now=LATER).with_key(parties().issuer_retired)),
        "key_retired",
    ),
    "is a carnet": (lambda s: replace(s, release=carnet()), "wrong_type"),
    "is an access token": (lambda s: replace(s, release=access_token()), "wrong_type"),
    "is no token": (lambda s: s.with_headers(carnet_release="a.b"), "malformed_token"),
    "is empty": (lambda s: s.with_headers(carnet_release=""), "malformed_token"),
    "is a number": (lambda s: s.with_headers(carnet_release=7), "missing_token"),
    "is there twice": (lambda s: s.with_headers(Carnet_Release="x"), "duplicate_token"),
    "is of another issuer": (lambda s: s.with_release(iss="another"), "wrong_issuer"),
    "is for another service": (lambda s: s.with_release(aud=GATEWAY), "wrong_audience"),
    "lifts what there is not": (lambda s: s.with_release(lift=["scope"]), "malformed_claims"),
    "lifts no list": (lambda s: s.with_release(lift="age"), "malformed_claims"),
    "names nobody who asked": (lambda s: s.with_release(by="operator"), "malformed_claims"),
    "says neither release nor discard": (
        lambda s: s.with_release(what="forget"),
        "malformed_claims",
    ),
    "is of another message": (lambda s: s.with_release(seal="A" * 43), "another message"),
    "is from the future": (
        lambda s: s.with_release(iat=LATER + LEEWAY + 1, exp=LATER + 100),
        "in the future",
    ),
    "lives too long": (
        lambda s: s.with_release(exp=LATER + MAX_RELEASE_LIFE + 1),
        "lives longer",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_release_is_refused_that(what: str) -> None:
    """And so is not known to be of this message: nobody's inbox row is touched for it."""
    change, detail = BAD[what]

    refusal = _judge(change(_late()))

    assert refusal.code == Code.RELEASE_REFUSED
    assert detail in refusal.detail
    assert refusal.authenticated is None


def test_a_bad_release_makes_a_good_message_no_worse_than_unknown() -> None:
    """Or whoever can write to the broker could have any message refused for good."""
    refusal = _judge(command_scene().with_headers(carnet_release="x"))

    assert refusal.code == Code.RELEASE_REFUSED
    assert refusal.authenticated is None


def test_an_expired_release_is_refused() -> None:
    scene = _late()
    assert replace(scene, now=LATER + MAX_RELEASE_LIFE + LEEWAY).judge()

    refusal = _judge(replace(scene, now=LATER + MAX_RELEASE_LIFE + LEEWAY + 1))

    assert refusal.code == Code.RELEASE_EXPIRED
    assert refusal.authenticated is None


STILL: dict[str, tuple[Change, str]] = {
    "the seal's signature": (
        lambda s: replace(s, seal=s.seal.with_key(parties().stranger)),
        Code.UNKNOWN_KEY,
    ),
    "the body": (lambda s: replace(s, sent_body=b"{}"), Code.SEAL_MISMATCH),
    "the type": (lambda s: replace(s, sent_type=LIST.type), Code.SEAL_MISMATCH),
    "the route": (lambda s: s.with_seal(rk="orders.cancel"), Code.SEAL_MISMATCH),
    "the receiver": (lambda s: s.with_seal(aud=GATEWAY), Code.SEAL_MISMATCH),
    "the kind": (lambda s: s.with_seal(k="req"), Code.SEAL_MISMATCH),
    "what the client may publish": (lambda s: s.with_seal(ty="x.y"), Code.TYPE_NOT_ALLOWED),
    "the client that may seal": (
        lambda s: s.with_release(act={"sub": "report-service"}),
        Code.WRONG_CLIENT,
    ),
    "the carnet that was sealed": (
        lambda s: s.with_headers(authorization=BEARER + carnet().but(jti="x" * 20).text),
        Code.SEAL_MISMATCH,
    ),
    "the carnet's form": (
        lambda s: s.with_headers(authorization="Bearer é"),
        Code.MALFORMED_TOKEN,
    ),
    "that there is a carnet": (lambda s: s.with_headers(authorization=7), Code.MISSING_TOKEN),
    "that there is a seal": (lambda s: s.with_headers(carnet_seal=7), Code.MISSING_TOKEN),
}


@pytest.mark.parametrize("what", STILL)
def test_a_release_lifts_nothing_of(what: str) -> None:
    change, code = STILL[what]

    refusal = _judge(change(_late()))

    assert refusal.code == code
    assert refusal.authenticated is None


def test_an_age_that_is_not_lifted_counts() -> None:
    refusal = _judge(_late().with_release(lift=["expiry"]))

    assert refusal.code == Code.TOO_OLD
    assert refusal.authenticated is not None


def test_a_seal_from_the_future_is_not_let_in_by_its_age() -> None:
    scene = _late().with_seal(iat=LATER + LEEWAY + 1, exp=LATER + 1000)

    assert _judge(scene).code == Code.NOT_YET_VALID


def test_a_seal_for_longer_than_the_handler_takes_is_not_let_in() -> None:
    assert _judge(_late().with_seal(exp=NOW + 30 * 3600)).code == Code.LIFETIME_TOO_LONG


def test_an_expiry_that_is_not_lifted_counts_where_the_carnet_is_judged_now() -> None:
    scene = replace(_late(), expiry=at_processing()).with_seal(exp=NOW + 60)
    assert scene.judge()

    assert _judge(scene.with_release(lift=["age"])).code == Code.EXPIRED


def test_a_revocation_counts_unless_it_is_lifted_by_name() -> None:
    scene = _late()
    scene.revocations.revoke_session(SESSION, until=LATER + 1)

    assert _judge(scene).code == Code.REVOKED
    assert scene.with_release(lift=["age", "expiry", "revocation"]).judge()


def test_a_client_that_was_withdrawn_counts_as_revoked() -> None:
    assert _judge(_late().with_release(act={"sub": GATEWAY, "act": {"sub": "gone"}})).code == (
        Code.REVOKED
    )


def test_nothing_is_let_in_while_the_feed_is_silent() -> None:
    class Silent(FixedTrust):
        def require_fresh(self, now: float) -> None:
            raise TrustUnavailableError(f"silent at {now}")

    scene = _late().with_release(lift=["age", "revocation"])

    with pytest.raises(TrustUnavailableError):
        replace(scene, trust=Silent(scene.key_set)).judge()


def test_a_release_gives_no_more_scope_than_it_names() -> None:
    refusal = _judge(_late().with_release(scope="orders:read"))

    assert refusal.code == Code.INSUFFICIENT_SCOPE
    assert refusal.authenticated is not None


def test_what_is_to_be_discarded_needs_to_be_genuine_and_no_more() -> None:
    """It is written down under its id, so it must be that message; but nothing will be done."""
    scene = _late().with_release(what="discard", lift=[], scope="")

    message = scene.judge()

    assert message.release is not None
    assert message.release.what == "discard"
    assert _judge(replace(scene, sent_body=b"x")).code == Code.SEAL_MISMATCH


def _public() -> Scene:
    """A command that needs no carnet, too late and released."""
    token = release(now=LATER).but(sub=service_subject(GATEWAY), scope="", sid=None, act=None)
    return replace(_late(), carnet=None, policy=public(), release=token)


def test_a_command_without_a_carnet_is_released_like_any_other() -> None:
    message = _public().judge()

    assert message.principal is None
    assert message.release is not None


def test_a_carnet_where_none_is_wanted_is_refused_also_when_released() -> None:
    assert _judge(_public().with_headers(authorization="Bearer x")).code == Code.SEAL_MISMATCH
    assert _judge(_public().with_seal(ath="A" * 43)).code == Code.SEAL_MISMATCH


def test_a_release_of_a_command_without_a_carnet_lets_none_in_that_needs_one() -> None:
    scene = replace(_public(), policy=requires("orders:write"))

    assert _judge(scene).code == Code.MISSING_TOKEN


# The issuer's side: what may be released.

EVERYTHING: frozenset[Lift] = frozenset({"age", "expiry", "revocation"})


def _letter(
    scene: Scene,
    *,
    message: UnverifiedMessage | None = None,
    lift: frozenset[Lift] = frozenset({"age", "expiry"}),
) -> VerifiedMessage:
    headers = (message or scene.message()).headers
    bearer = headers.get(AUTHORIZATION)
    trust = FixedTrust(scene.key_set, scene.revocations)
    return Verifier(trust, audience=scene.audience).letter(
        None if bearer is None else str(bearer).removeprefix(BEARER),
        str(headers[CARNET_SEAL]),
        lift,
        now=scene.now,
    )


def _stated(scene: Scene) -> UnverifiedMessage:
    """The scene's message, with what the issuer states of it."""
    message = scene.message()
    stated = sign_release(
        _letter(scene, message=message),
        str(message.headers[CARNET_SEAL]),
        issuer=ISSUER,
        key=parties().issuer,
        what="release",
        lift=("expiry", "age"),
        by=OPERATOR,
        now=scene.now,
    )
    return replace(message, headers={**message.headers, CARNET_RELEASE: stated})


def test_what_the_issuer_states_is_what_the_consumer_believes() -> None:
    late = replace(command_scene(), now=LATER)
    released = _stated(late)

    message = late.judge_message(released)

    assert message.release is not None
    assert message.release.exp - message.release.iat == MAX_RELEASE_LIFE
    assert message.release.lift == ("age", "expiry")
    assert message.principal is not None
    assert message.principal.session == SESSION
    header = parse_token(str(released.headers[CARNET_RELEASE])).unverified_header
    assert header["typ"] == "carnet-release+jwt"


def test_what_the_issuer_states_of_a_command_without_a_carnet_is_believed_as_well() -> None:
    late = replace(command_scene(), carnet=None, policy=public(), now=LATER)

    message = late.judge_message(_stated(late))

    assert message.release is not None
    assert message.release.sub == service_subject(GATEWAY)


def _edited(edit: Callable[[KeySetDraft], None]) -> Change:
    def change(scene: Scene) -> Scene:
        draft = parties().draft()
        edit(draft)
        return replace(scene, key_set=parties().key_set(draft))

    return change


NOT_RELEASED: dict[str, tuple[Change, str]] = {
    "a carnet that nobody signed": (
        lambda s: replace(s, carnet=carnet().with_key(parties().stranger)),
        Code.UNKNOWN_KEY,
    ),
    "a carnet with another signature": (
        lambda s: replace(
            s, carnet=carnet().with_key(parties().stranger).with_header(kid=parties().issuer.kid)
        ),
        Code.BAD_SIGNATURE,
    ),
    "a seal that nobody signed": (
        lambda s: replace(s, seal=s.seal.with_key(parties().stranger)),
        Code.UNKNOWN_KEY,
    ),
    "a seal of another client": (
        lambda s: replace(
            s.with_seal(iss="report-service", ty="reports.done.v1"),
            seal=s.with_seal(iss="report-service", ty="reports.done.v1").seal.with_key(
                parties().reports
            ),
        ),
        Code.WRONG_CLIENT,
    ),
    "a seal with another carnet": (lambda s: s.with_seal(ath="A" * 43), Code.SEAL_MISMATCH),
    "a type that the client may not publish": (
        lambda s: s.with_seal(ty="x.y"),
        Code.TYPE_NOT_ALLOWED,
    ),
    "a carnet of another issuer": (lambda s: s.with_carnet(iss="x"), Code.WRONG_ISSUER),
    "a carnet for another service": (lambda s: s.with_carnet(aud=GATEWAY), Code.WRONG_AUDIENCE),
    "a request": (lambda s: s.with_seal(k="req"), Code.SEAL_MISMATCH),
    "a message to another service": (lambda s: s.with_seal(aud=GATEWAY), Code.SEAL_MISMATCH),
    "a message without its carnet": (
        lambda s: replace(s, carnet=None).with_seal(ath="A" * 43),
        Code.SEAL_MISMATCH,
    ),
    "a carnet that lives too long": (
        lambda s: s.with_carnet(exp=NOW + 301),
        Code.LIFETIME_TOO_LONG,
    ),
    "a seal from before its carnet": (
        lambda s: s.with_seal(iat=NOW - LEEWAY - 1),
        Code.NOT_YET_VALID,
    ),
    "a seal from the future": (
        lambda s: s.with_seal(iat=LATER + LEEWAY + 1, exp=LATER + 100),
        Code.NOT_YET_VALID,
    ),
    "a user of a client that was withdrawn": (
        lambda s: s.with_carnet(act={"sub": GATEWAY, "act": {"sub": "gone"}}),
        Code.REVOKED,
    ),
    "a key that was withdrawn": (
        _edited(lambda draft: draft.withdraw_key("issuer", parties().issuer.kid)),
        Code.UNKNOWN_KEY,
    ),
}


@pytest.mark.parametrize("what", NOT_RELEASED)
def test_the_issuer_does_not_release(what: str) -> None:
    change, code = NOT_RELEASED[what]

    with pytest.raises(RefusalError) as refusal:
        _letter(change(replace(command_scene(), now=LATER)))

    assert refusal.value.code == code


def test_the_issuer_judges_age_and_expiry_unless_they_are_lifted() -> None:
    late = replace(command_scene(), now=LATER)
    accepted_late = replace(command_scene(), now=LATER).with_seal(iat=NOW + 301)

    with pytest.raises(RefusalError, match=Code.TOO_OLD):
        _letter(late, lift=frozenset({"expiry"}))
    with pytest.raises(RefusalError, match=Code.EXPIRED):
        _letter(accepted_late, lift=frozenset({"age"}))
    assert _letter(accepted_late).carnet is not None


def test_the_issuer_judges_revocation_unless_it_is_lifted() -> None:
    late = replace(command_scene(), now=LATER)
    late.revocations.revoke_session(SESSION, until=LATER + 1)

    with pytest.raises(RefusalError, match=Code.REVOKED):
        _letter(late)
    assert _letter(late, lift=EVERYTHING).carnet is not None


def test_a_release_has_the_form_that_its_claims_say() -> None:
    claims = parse_claims(parse_token(release().but(seal="A" * 43).text), ReleaseClaims)

    assert claims.lift == ("age", "expiry")
