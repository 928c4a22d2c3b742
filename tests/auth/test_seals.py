"""What a sealer and the issuer make is what the verifier accepts, to the second."""

from datetime import timedelta

import pytest

from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.message import Route, UnverifiedMessage
from auth.policy import at_acceptance, at_processing, public, requires
from auth.seal import MAX_EVENT_AGE, MAX_REQUEST_AGE, Sealer, digest
from auth.tokens import MAX_CARNET_LIFE, AccessClaims, CarnetClaims, Issuer
from auth.trust import FixedTrust
from auth.verifier import Verifier
from tests.auth.forge import (
    ALICE,
    BODY,
    GATEWAY,
    ISSUER,
    LIST,
    LISTED,
    MESSAGE_ID,
    NOW,
    ORDERS,
    PLACE,
    PLACED,
    REPLY_QUEUE,
    REPORTS,
    REQUEST_ID,
    SESSION,
    access_token,
    carnet,
    command_scene,
    judge_access_token,
    parties,
)

FRACTION = NOW + 0.999
"""A clock rarely shows a whole second, and no rounding may cost a message its life."""


def _verifier(audience: str) -> Verifier:
    return Verifier(FixedTrust(parties().key_set()), audience=audience)


def _parent(**claims: object) -> AccessClaims:
    return judge_access_token(access_token().but(**claims))


def _carnet(scopes: str = "orders:write", *, now: float = FRACTION) -> str:
    return Issuer(ISSUER, parties().issuer).carnet(
        _parent(), actor=GATEWAY, audience=ORDERS, scopes=frozenset(scopes.split()), now=now
    )


def _message(seal: str, route: Route, **fields: str) -> UnverifiedMessage:
    headers = {"carnet-seal": seal}
    if "carnet" in fields:
        headers["authorization"] = f"Bearer {fields['carnet']}"
    return UnverifiedMessage(BODY, headers, route.type, fields.get("reply_to"))


@pytest.mark.parametrize("life", [0.2, 60, 86_400])
def test_a_sealed_command_is_accepted(life: float) -> None:
    unverified_carnet = _carnet()
    seal = Sealer(GATEWAY, parties().gateway).command(
        route=PLACE,
        audience=ORDERS,
        message_id=MESSAGE_ID,
        body=BODY,
        carnet=unverified_carnet,
        now=FRACTION,
        expires_at=FRACTION + life,
    )

    judged = _verifier(ORDERS).command(
        _message(seal, PLACE, carnet=unverified_carnet),
        PLACE,
        requires("orders:write"),
        at_acceptance(timedelta(days=1)),
        now=FRACTION,
    )

    assert judged.seal.jti == MESSAGE_ID
    assert judged.principal is not None
    assert judged.principal.actors == (GATEWAY,)


def test_a_sealed_command_without_a_carnet_is_accepted_by_a_public_handler() -> None:
    seal = Sealer(GATEWAY, parties().gateway).command(
        route=PLACE,
        audience=ORDERS,
        message_id=MESSAGE_ID,
        body=BODY,
        carnet=None,
        now=FRACTION,
        expires_at=FRACTION + MAX_CARNET_LIFE,
    )

    _verifier(ORDERS).command(_message(seal, PLACE), PLACE, public(), at_processing(), now=FRACTION)


@pytest.mark.parametrize("life", [0.2, 30, MAX_REQUEST_AGE])
def test_a_sealed_request_is_accepted(life: float) -> None:
    unverified_carnet = _carnet("orders:read")
    seal = Sealer(GATEWAY, parties().gateway).request(
        route=LIST,
        audience=ORDERS,
        message_id=MESSAGE_ID,
        body=BODY,
        reply_to=REPLY_QUEUE,
        carnet=unverified_carnet,
        now=FRACTION,
        expires_at=FRACTION + life,
    )

    judged = _verifier(ORDERS).request(
        _message(seal, LIST, carnet=unverified_carnet, reply_to=REPLY_QUEUE),
        LIST,
        requires("orders:read"),
        now=FRACTION,
    )

    assert judged.seal.rt == REPLY_QUEUE


@pytest.mark.parametrize("life", [0.2, 30, MAX_REQUEST_AGE])
def test_a_sealed_reply_is_accepted(life: float) -> None:
    seal = Sealer(ORDERS, parties().orders).reply(
        route=LISTED,
        audience=GATEWAY,
        message_id=MESSAGE_ID,
        body=BODY,
        request_id=REQUEST_ID,
        now=FRACTION,
        expires_at=FRACTION + life,
    )

    _verifier(GATEWAY).reply(
        _message(seal, LISTED), LISTED, responder=ORDERS, request_id=REQUEST_ID, now=FRACTION
    )


@pytest.mark.parametrize("life", [0.2, 30, MAX_EVENT_AGE])
def test_a_sealed_event_is_accepted(life: float) -> None:
    seal = Sealer(ORDERS, parties().orders).event(
        route=PLACED,
        message_id=MESSAGE_ID,
        body=BODY,
        subject=ALICE,
        cause=REQUEST_ID,
        now=FRACTION,
        expires_at=FRACTION + life,
    )

    _verifier(GATEWAY).event(_message(seal, PLACED), PLACED, now=FRACTION)


def test_a_sealer_says_whose_it_is() -> None:
    assert Sealer(GATEWAY, parties().gateway).client_id == GATEWAY


def test_an_issuer_makes_no_token_of_a_user_that_ends_with_no_session() -> None:
    with pytest.raises(ValueError, match="names its session"):
        Issuer(ISSUER, parties().issuer).access_token(
            subject=ALICE,
            audience=GATEWAY,
            client_id=GATEWAY,
            scopes=frozenset(),
            session=None,
            epoch=3,
            auth_time=NOW,
            now=NOW,
        )


def test_a_carnet_is_never_more_than_its_access_token() -> None:
    issuer = Issuer(ISSUER, parties().issuer)
    parent = _parent(exp=NOW + 100)

    unverified_carnet = issuer.carnet(
        parent, actor=GATEWAY, audience=ORDERS, scopes=frozenset(), now=NOW, life=86_400
    )
    claims = _verifier(ORDERS).carnet(unverified_carnet, now=NOW)

    assert (claims.sub, claims.sid, claims.epoch) == (ALICE, SESSION, 3)
    assert (claims.exp, claims.scopes, claims.actors) == (NOW + 100, frozenset(), (GATEWAY,))
    assert _verifier(ORDERS).carnet(_carnet(), now=NOW).exp == NOW + MAX_CARNET_LIFE

    with pytest.raises(ValueError, match="more scope"):
        _carnet("orders:write orders:admin")


def test_no_carnet_is_born_dead() -> None:
    """An access token is believed for 30 s past its end; a carnet of it would be over already."""
    with pytest.raises(ValueError, match="expired"):
        _carnet(now=NOW + 900)


def test_a_users_carnet_names_its_client_and_a_services_own_need_not() -> None:
    issuer = Issuer(ISSUER, parties().issuer)
    scopes = frozenset({"orders:read"})

    with pytest.raises(ValueError, match="may seal"):
        issuer.carnet(_parent(), actor=None, audience=ORDERS, scopes=scopes, now=NOW)

    own = _parent(sub=f"service:{REPORTS}", client_id=REPORTS, scope="orders:read")
    unverified_carnet = issuer.carnet(own, actor=None, audience=ORDERS, scopes=scopes, now=NOW)
    claims = _verifier(ORDERS).carnet(unverified_carnet, now=NOW)
    assert (claims.actors, claims.principal.subject) == ((), f"service:{REPORTS}")


def test_a_carnet_by_itself_is_judged_as_far_as_that_goes() -> None:
    verifier = _verifier(ORDERS)
    genuine: CarnetClaims = verifier.carnet(carnet().text, now=NOW)
    assert genuine.jti == carnet().claims["jti"]

    for spoilt, code in (
        (carnet().with_key(parties().gateway), Code.UNKNOWN_KEY),
        (carnet().but(aud=REPORTS), Code.WRONG_AUDIENCE),
        (carnet().but(exp=NOW + 301), Code.LIFETIME_TOO_LONG),
        (carnet().but(iat=NOW - 300, exp=NOW - 31), Code.EXPIRED),
        (access_token(), Code.WRONG_TYPE),
    ):
        with pytest.raises(RefusalError) as refusal:
            verifier.carnet(spoilt.text, now=NOW)
        assert refusal.value.code == code


def test_a_seal_by_itself_is_judged_as_far_as_that_goes() -> None:
    verifier = _verifier(ORDERS)
    seal = command_scene().seal.but(bh=digest(BODY))
    assert verifier.seal(seal.text, now=NOW).jti == MESSAGE_ID

    for spoilt, code in (
        (seal.with_key(parties().reports), Code.UNKNOWN_KEY),
        (seal.but(ty=LIST.type + "x"), Code.TYPE_NOT_ALLOWED),
        (seal.but(exp=NOW + MAX_EVENT_AGE + 1), Code.LIFETIME_TOO_LONG),
        (seal.but(iat=NOW - 60, exp=NOW - 31), Code.TOO_OLD),
    ):
        with pytest.raises(RefusalError) as refusal:
            verifier.seal(spoilt.text, now=NOW)
        assert refusal.value.code == code


def test_a_fixed_trust_is_fresh_until_its_statement_is_expired() -> None:
    trust = FixedTrust(parties().key_set())

    trust.require_fresh(trust.key_set.expires_at)
    with pytest.raises(TrustUnavailableError, match="carnet trust sign"):
        trust.require_fresh(trust.key_set.expires_at + 1)
