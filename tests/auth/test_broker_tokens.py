"""A token for the broker says what the broker reads, and is none of our other tokens."""

import pytest

from auth.assertion import verify_assertion
from auth.brokertoken import BROKER_TOKEN, BrokerClaims, sign_broker_token
from auth.errors import Code, RefusalError
from auth.jws import parse_claims
from auth.strict import parse_token
from tests.auth.forge import (
    GATEWAY,
    ISSUER,
    NOW,
    ORDERS,
    command_scene,
    judge_access_token,
    parties,
)

RESOURCE = "carnet-broker"
SCOPES = (f"{RESOURCE}.read:%2F/orders.commands", f"{RESOURCE}.write:%2F/carnet.dead")


def broker_token(
    *, resource: str = RESOURCE, scopes: tuple[str, ...] = SCOPES, life: int = 900
) -> str:
    return sign_broker_token(
        ISSUER,
        parties().issuer,
        client_id=ORDERS,
        resource=resource,
        scopes=scopes,
        now=NOW + 0.9,
        life=life,
    )


def test_it_names_the_broker_the_client_and_what_it_may_do_there() -> None:
    token = parse_token(broker_token())
    claims = parse_claims(token, BrokerClaims)

    assert token.unverified_header["typ"] == BROKER_TOKEN
    assert token.unverified_header["kid"] == parties().issuer.kid
    assert (claims.iss, claims.sub, claims.aud) == (ISSUER, "service:order-service", RESOURCE)
    assert claims.scope.split(" ") == list(SCOPES)
    assert (claims.iat, claims.exp) == (NOW, NOW + 900)


@pytest.mark.parametrize(("asked", "given"), [(4, 4), (900, 900), (901, 900), (10**6, 900)])
def test_it_lives_15_minutes_at_most(asked: int, given: int) -> None:
    claims = parse_claims(parse_token(broker_token(life=asked)), BrokerClaims)

    assert claims.exp - claims.iat == given


def test_no_two_are_alike() -> None:
    assert broker_token() != broker_token()


@pytest.mark.parametrize("scopes", [(), ("",), ("a b",), ("a", ""), ('a"b',), ("x" * 2049,)])
def test_scopes_that_would_read_as_others_are_not_signed(scopes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="scope"):
        broker_token(scopes=scopes)


def test_the_longest_one_fits_into_a_login() -> None:
    """Before frame sizes are agreed on, RabbitMQ 3.10 takes 4,096 bytes; our share is 3,300."""
    assert len(broker_token(scopes=("x" * 2048,))) < 3300


def test_it_is_no_access_token() -> None:
    """Not even where somebody has named the broker like a service."""
    with pytest.raises(RefusalError) as refusal:
        judge_access_token(broker_token(resource=GATEWAY))

    assert refusal.value.code == Code.WRONG_TYPE


def test_it_is_no_carnet() -> None:
    token = broker_token(resource=ORDERS)

    with pytest.raises(RefusalError) as refusal:
        command_scene().with_headers(authorization=f"Bearer {token}").judge()

    assert refusal.value.code == Code.WRONG_TYPE


def test_it_is_no_client_assertion() -> None:
    with pytest.raises(RefusalError) as refusal:
        verify_assertion(broker_token(), parties().key_set(), audiences={RESOURCE}, now=NOW)

    assert refusal.value.code == Code.WRONG_TYPE
