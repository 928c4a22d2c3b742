"""A client assertion proves a client by its own key, to the issuer alone, for a short time."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.assertion import (
    MAX_ASSERTION_LIFE,
    AssertionClaims,
    sign_assertion,
    unverified_client,
    verify_assertion,
)
from auth.claims import LEEWAY
from auth.errors import Code, RefusalError
from auth.jws import CLIENT_ASSERTION
from tests.auth.forge import ABSENT, GATEWAY, ISSUER, NOW, ORDERS, Token, parties

WHO = parties()
ADDRESSES = ("https://carnet.example", "https://carnet.example/oauth/token")
Change = Callable[[Token], Token]


def _assertion() -> Token:
    return Token(
        {"iss": GATEWAY, "sub": GATEWAY, "aud": ISSUER, "exp": NOW + 60, "jti": "once", "iat": NOW},
        CLIENT_ASSERTION,
        WHO.gateway,
    )


def _judge(token: Token) -> AssertionClaims:
    return verify_assertion(token.text, WHO.key_set(), audiences=ADDRESSES, now=NOW)


def _claims(**claims: object) -> Change:
    return lambda token: token.but(**claims)


ROWS: dict[Code, dict[str, Change]] = {
    Code.MALFORMED_HEADER: {
        "its header is wider": lambda t: t.with_header(crit=["exp"]),
        "its header is no JSON": lambda t: replace(t, write_header=lambda _: "{"),
        "its typ is null": lambda t: t.with_header(typ=None),
        "it names no key": lambda t: t.with_header(kid=ABSENT, typ=ABSENT),
    },
    Code.WRONG_TYPE: {
        "it is a seal": lambda t: t.with_header(typ="carnet-seal+jwt"),
        "it is an access token": lambda t: t.with_header(typ="at+jwt"),
        "it is almost a JWT": lambda t: t.with_header(typ="jwt"),
    },
    Code.ALGORITHM_NOT_ALLOWED: {"its alg is none": lambda t: t.with_header(alg="none")},
    Code.UNKNOWN_KEY: {
        "a stranger signed it": lambda t: t.with_key(WHO.stranger),
        "the issuer signed it": lambda t: t.with_key(WHO.issuer),
        "another client signed it": lambda t: t.with_key(WHO.orders),
        "it names another client": _claims(iss=ORDERS, sub=ORDERS),
        "it names a client that is not listed": _claims(iss="unheard-of", sub="unheard-of"),
    },
    Code.KEY_MISMATCH: {"its alg is another key's": lambda t: t.with_header(alg="RS256")},
    Code.KEY_RETIRED: {
        "its key is retired": lambda t: t.with_key(WHO.gateway_retired),
        "its key is retired and it is dated back": lambda t: t.with_key(WHO.gateway_retired).but(
            iat=WHO.RETIRED_AT - 1
        ),
    },
    Code.BAD_SIGNATURE: {
        "it is forged": lambda t: t.with_key(WHO.stranger).with_header(kid=WHO.gateway.kid),
    },
    Code.MALFORMED_CLAIMS: {
        **{f"it has no {c}": _claims(**{c: ABSENT}) for c in ("iss", "sub", "aud", "exp", "jti")},
        "its audience is a list": _claims(aud=[ISSUER]),
        "its exp is text": _claims(exp=str(NOW + 60)),
        "its exp is a fraction": _claims(exp=NOW + 0.5),
        "its nbf is true": _claims(nbf=True),
        "its id is empty": _claims(jti=""),
        "its id has a blank": _claims(jti="on ce"),
        "its id is too long": _claims(jti="x" * 201),
    },
    Code.WRONG_CLIENT: {"it speaks for another": _claims(sub=ORDERS)},
    Code.WRONG_AUDIENCE: {
        "it is for another": _claims(aud=GATEWAY),
        "it is for a name that ours is a part of": _claims(aud=f"{ISSUER}/"),
        "it is for another address": _claims(aud="https://carnet.example.evil"),
        "it is for an address below ours": _claims(aud=f"{ADDRESSES[0]}/"),
    },
    Code.EXPIRED: {
        "it is over": _claims(exp=NOW - LEEWAY - 1),
        "it was made too long ago, whatever its exp": _claims(
            iat=NOW - MAX_ASSERTION_LIFE - LEEWAY - 1, exp=NOW + 3000
        ),
    },
    Code.LIFETIME_TOO_LONG: {
        "it lives for too long": _claims(iat=ABSENT, exp=NOW + MAX_ASSERTION_LIFE + LEEWAY + 1),
        "it is dated ahead to live for longer": _claims(iat=NOW + LEEWAY + 1, exp=NOW + 3600),
    },
    Code.NOT_YET_VALID: {
        "it is from the future": _claims(iat=NOW + LEEWAY + 1),
        "it is not valid before later": _claims(nbf=NOW + LEEWAY + 1),
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
def test_an_assertion_is_refused_when(change: Change, code: Code) -> None:
    with pytest.raises(RefusalError) as refusal:
        _judge(change(_assertion()))

    assert refusal.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_claims(), id="as it is"),
        pytest.param(_claims(iat=ABSENT), id="without iat"),
        *(pytest.param(_claims(aud=address), id=f"for {address}") for address in ADDRESSES),
        pytest.param(_claims(exp=NOW - LEEWAY), id="in its last second"),
        pytest.param(
            _claims(iat=ABSENT, exp=NOW + MAX_ASSERTION_LIFE + LEEWAY), id="as long as it may be"
        ),
        pytest.param(_claims(exp=NOW + 3600), id="with an exp that does not count"),
        pytest.param(lambda token: token.with_header(typ="JWT"), id="a JWT"),
        pytest.param(lambda token: token.with_header(typ=ABSENT), id="without a type"),
        pytest.param(_claims(iat=NOW + LEEWAY, nbf=NOW + LEEWAY), id="of a clock that is ahead"),
    ],
)
def test_an_assertion_is_accepted(change: Change) -> None:
    assert _judge(change(_assertion())).iss == GATEWAY


def test_what_a_client_signs_is_accepted_and_no_two_are_alike() -> None:
    made = [sign_assertion(GATEWAY, WHO.gateway, audience=ISSUER, now=NOW + 0.9) for _ in range(2)]

    first, second = (verify_assertion(text, WHO.key_set(), audiences=(), now=NOW) for text in made)
    assert first.jti != second.jti
    assert (first.sub, first.exp) == (GATEWAY, NOW + 60)


def test_an_assertion_says_whose_it_is() -> None:
    assert unverified_client(_assertion().text) == GATEWAY


@pytest.mark.parametrize("sub", [ABSENT, 7, None])
def test_an_assertion_that_names_nobody_is_nobodys(sub: object) -> None:
    assert unverified_client(_assertion().but(sub=sub).text) is None


@pytest.mark.parametrize("text", ["", "not.a.token", "e30.e30.e30", "x" * 10_000])
def test_what_is_no_assertion_is_nobodys(text: str) -> None:
    assert unverified_client(text) is None
