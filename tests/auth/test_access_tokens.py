"""An access token is judged by the receiver that it names; test_token_form.py has its form."""

from collections.abc import Callable

import pytest

from auth.claims import LEEWAY
from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.principal import Principal
from auth.revocation import RevocationList
from auth.tokens import AccessClaims, Issuer
from tests.auth.forge import (
    ABSENT,
    ALICE,
    GATEWAY,
    ISSUER,
    NOW,
    ORDERS,
    SESSION,
    Token,
    access_token,
    carnet,
    judge_access_token,
    parties,
)


def _claims(**claims: object) -> Callable[[Token], Token]:
    return lambda token: token.but(**claims)


ROWS: dict[Code, dict[str, Callable[[Token], Token]]] = {
    Code.UNKNOWN_KEY: {
        "a client signed it": lambda token: token.with_key(parties().gateway),
        "the issuer's seal key signed it": lambda token: token.with_key(parties().users),
    },
    Code.KEY_RETIRED: {
        "its key was retired": lambda token: token.with_key(parties().issuer_retired),
    },
    Code.WRONG_ISSUER: {
        "its issuer is another": _claims(iss="other-service"),
        "its issuer has a slash": _claims(iss=f"{ISSUER}/"),
        "its issuer has another case": _claims(iss=ISSUER.upper()),
        "its issuer is a client": _claims(iss=GATEWAY),
    },
    Code.WRONG_AUDIENCE: {
        "it is for another service": _claims(aud=ORDERS),
        "it is for a part of our name": _claims(aud="api"),
        "it is for a name that ours is a part of": _claims(aud=f"{GATEWAY}-2"),
    },
    Code.NOT_YET_VALID: {
        "it is from the future": _claims(iat=NOW + 31),
        "it is not valid before later": _claims(nbf=NOW + 31),
    },
    Code.LIFETIME_TOO_LONG: {
        "it lives longer than 15 min": _claims(exp=NOW + 901),
        "it ends as it begins": _claims(iat=NOW, exp=NOW),
        "it ends before it begins": _claims(iat=NOW, exp=NOW - 1),
        "it never ends": _claims(exp=2**40),
    },
    Code.MALFORMED_CLAIMS: {
        "it is a public client's without a session": _claims(
            sub=f"service:{ORDERS}", sid=ABSENT, client_id="app:notes"
        ),
        "its client has no name": _claims(client_id="app:"),
        "its client is of no kind": _claims(client_id="web:notes"),
    },
    Code.EXPIRED: {
        "it is expired": _claims(iat=NOW - 900, exp=NOW - LEEWAY - 1),
    },
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(change, code, id=f"{code}: {name}")
        for code, rows in ROWS.items()
        for name, change in rows.items()
    ],
)
def test_an_access_token_is_refused_when(change: Callable[[Token], Token], code: Code) -> None:
    with pytest.raises(RefusalError) as refusal:
        judge_access_token(change(access_token()))

    assert refusal.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_claims(iat=NOW - 900, exp=NOW - LEEWAY), id="in its last second"),
        pytest.param(_claims(iat=NOW + LEEWAY, exp=NOW + 600), id="of a clock that is ahead"),
        pytest.param(_claims(nbf=NOW), id="valid since now"),
        pytest.param(
            _claims(sub=f"service:{ORDERS}", sid=ABSENT, auth_time=ABSENT), id="of a client"
        ),
        pytest.param(_claims(client_id="app:notes"), id="of a public client"),
        pytest.param(lambda token: token.with_key(parties().issuer_next), id="of the next key"),
    ],
)
def test_an_access_token_is_accepted(change: Callable[[Token], Token]) -> None:
    judge_access_token(change(access_token()))


def test_an_access_token_gives_its_principal() -> None:
    assert judge_access_token(access_token()).principal == Principal(
        subject=ALICE,
        scopes=frozenset({"orders:read", "orders:write"}),
        actors=(),
        session=SESSION,
        epoch=3,
        token_id="access-0000000000000001",
        expires_at=NOW + 900,
    )


def test_a_revoked_access_token_is_refused() -> None:
    session, subject = RevocationList(), RevocationList()
    session.revoke_session(SESSION, until=NOW + 900)
    subject.revoke_subject(ALICE, epoch=4, until=NOW + 900)

    for revocations in (session, subject):
        with pytest.raises(RefusalError) as refusal:
            judge_access_token(access_token(), revocations=revocations)
        assert refusal.value.code == Code.REVOKED


@pytest.mark.parametrize(
    "of_withdrawn",
    [
        access_token().but(client_id="withdrawn-service"),
        access_token().but(sub="service:withdrawn-service"),
    ],
    ids=["issued to it", "that speaks for it"],
)
def test_an_access_token_of_a_withdrawn_client_is_refused(of_withdrawn: Token) -> None:
    """The trust root need only stop listing it."""
    with pytest.raises(RefusalError) as refusal:
        judge_access_token(of_withdrawn)

    assert refusal.value.code == Code.REVOKED


def test_no_access_token_is_judged_by_an_expired_statement() -> None:
    over = parties().key_set().expires_at + 1

    with pytest.raises(TrustUnavailableError):
        judge_access_token(access_token().but(iat=over, exp=over + 900), now=over)


def _issued(*, life: int = 900) -> AccessClaims:
    made = Issuer(ISSUER, parties().issuer).access_token(
        subject=ALICE,
        audience=GATEWAY,
        client_id=GATEWAY,
        scopes=frozenset({"orders:read", "orders:write"}),
        session=SESSION,
        epoch=3,
        auth_time=NOW - 5.5,
        now=NOW + 0.9,
        life=life,
    )
    return judge_access_token(made, now=NOW + 1)


def test_what_the_issuer_makes_is_accepted_and_lives_no_longer_than_it_may() -> None:
    claims = _issued(life=86_400)

    assert (claims.sub, claims.client_id, claims.auth_time) == (ALICE, GATEWAY, NOW - 6)
    assert (claims.iat, claims.exp) == (NOW, NOW + 900)
    assert claims.scope == "orders:read orders:write"
    assert _issued(life=60).exp == NOW + 60


def test_no_two_tokens_of_the_issuer_have_the_same_id() -> None:
    assert _issued().jti != _issued().jti


def test_a_carnet_is_no_access_token_and_an_access_token_no_carnet() -> None:
    with pytest.raises(RefusalError) as refusal:
        judge_access_token(carnet())
    assert refusal.value.code == Code.WRONG_TYPE
