"""Whom the gateway lets in: each way in which an access token is refused."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from auth.jws import ACCESS_TOKEN, CARNET, SEAL, members, sign_token
from auth.keys import SigningKey
from services.contracts.topology import GATEWAY, ORDER_SERVICE
from tests.services.gateway.stack import Stack, User

Forge = Callable[[Stack, User], str]


def issued(stack: Stack, anyone: User, **changed: Any) -> str:
    """The user's own token anew, by the issuer's own key, with other claims."""
    claims = {**members(anyone.claims), **changed}
    return sign_token(claims, typ=ACCESS_TOKEN, key=stack.issuer._key)


def expired(stack: Stack, anyone: User) -> str:
    return issued(stack, anyone, iat=int(time.time()) - 1000, exp=int(time.time()) - 100)


def of_another_audience(stack: Stack, anyone: User) -> str:
    return issued(stack, anyone, aud=ORDER_SERVICE)


def of_another_issuer(stack: Stack, anyone: User) -> str:
    return issued(stack, anyone, iss="another-issuer")


def that_lives_too_long(stack: Stack, anyone: User) -> str:
    return issued(stack, anyone, exp=int(time.time()) + 86_400)


def by_a_stranger(_stack: Stack, anyone: User) -> str:
    claims = members(anyone.claims)
    return sign_token(claims, typ=ACCESS_TOKEN, key=SigningKey.generate())


def by_the_gateways_own_key(stack: Stack, anyone: User) -> str:
    claims = members(anyone.claims)
    return sign_token(claims, typ=ACCESS_TOKEN, key=stack.seal_key(GATEWAY))


def with_another_signature(_stack: Stack, anyone: User) -> str:
    head, _, signature = str(anyone.tokens["access_token"]).rpartition(".")
    return f"{head}.{'A' * len(signature)}"


def a_carnet(stack: Stack, anyone: User) -> str:
    return stack.issuer.carnet(
        anyone.claims,
        actor=GATEWAY,
        audience=ORDER_SERVICE,
        scopes=anyone.claims.scopes,
        now=time.time(),
    )


def a_carnet_for_the_gateway(stack: Stack, anyone: User) -> str:
    claims = members(anyone.claims)
    return sign_token(claims, typ=CARNET, key=stack.issuer._key)


def a_seal(stack: Stack, anyone: User) -> str:
    claims = members(anyone.claims)
    return sign_token(claims, typ=SEAL, key=stack.issuer._key)


def the_refresh_token(_stack: Stack, anyone: User) -> str:
    return str(anyone.tokens["refresh_token"])


def a_huge_one(_stack: Stack, anyone: User) -> str:
    return f"{anyone.tokens['access_token']}{'A' * 12_000}"


REFUSED: list[tuple[Forge, str]] = [
    (expired, "expired"),
    (of_another_audience, "wrong_audience"),
    (of_another_issuer, "wrong_issuer"),
    (that_lives_too_long, "lifetime_too_long"),
    (by_a_stranger, "unknown_key"),
    (by_the_gateways_own_key, "unknown_key"),
    (with_another_signature, "bad_signature"),
    (a_carnet, "wrong_type"),
    (a_carnet_for_the_gateway, "wrong_type"),
    (a_seal, "wrong_type"),
    (the_refresh_token, "malformed_token"),
    (a_huge_one, "oversized_token"),
]


@pytest.mark.parametrize(("forge", "code"), REFUSED, ids=[forge.__name__ for forge, _ in REFUSED])
async def test_a_refused_token_is_answered_with_401_and_its_code(
    stack: Stack, anyone: User, forge: Forge, code: str
) -> None:
    token = forge(stack, anyone)

    answer = await anyone.http.get("/v1/orders", headers={"Authorization": f"Bearer {token}"})

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (401, code)
    assert problem["type"] == f"urn:carnet:problem:{code}"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert token[:40] not in answer.text + str(answer.headers)


@pytest.mark.parametrize("authorization", ["", "Basic YWRhOnB3", "Bearer", "Token x"])
async def test_a_request_without_a_token_is_only_asked_for_one(
    http: httpx.AsyncClient, authorization: str
) -> None:
    """No error code where there are no credentials (RFC 6750 §3.1)."""
    answer = await http.get("/v1/orders", headers={"Authorization": authorization})

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")
    assert answer.headers["www-authenticate"] == 'Bearer realm="carnet"'


async def test_the_scheme_is_case_insensitive(anyone: User) -> None:
    token = anyone.tokens["access_token"]

    answer = await anyone.http.get("/v1/orders", headers={"Authorization": f"bEARER {token}"})

    assert answer.status_code == 200


async def test_two_tokens_are_one_too_many(stack: Stack, anyone: User) -> None:
    headers = [("Authorization", f"Bearer {anyone.tokens['access_token']}")] * 2
    async with httpx.AsyncClient(base_url=stack.url) as http:
        answer = await http.get("/v1/orders", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "duplicate_token")
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("with_header", [True, False])
async def test_a_token_in_the_address_is_refused(anyone: User, with_header: bool) -> None:  # noqa: FBT001 - a case of a table
    token = anyone.tokens["access_token"]
    if not with_header:
        del anyone.http.headers["Authorization"]

    answer = await anyone.http.get("/v1/orders", params={"access_token": token})

    assert (answer.status_code, answer.json()["code"]) == (400, "token_in_query")
    assert token not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/orders", "orders:read"),
        ("GET", "/v1/orders/7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11", "orders:read"),
        ("GET", "/v1/orders/events", "orders:read"),
        ("POST", "/v1/orders/7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11/cancel", "orders:write"),
    ],
)
async def test_a_token_without_the_scope_is_answered_with_403_and_the_scope(
    stack: Stack, anyone: User, method: str, path: str, scope: str
) -> None:
    for granted in ("", f"{scope}-all"):
        token = issued(stack, anyone, scope=granted)

        answer = await anyone.http.request(
            method, path, headers={"Authorization": f"Bearer {token}"}
        )

        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]


async def test_everyones_orders_are_for_operators(anyone: User) -> None:
    answer = await anyone.http.get("/v1/orders", params={"everyone": "true"})

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="orders:read-all"' in answer.headers["www-authenticate"]
