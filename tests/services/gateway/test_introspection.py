"""The introspection endpoint, in the words of RFC 7662."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from auth.keys import SigningKey
from services.contracts.topology import GATEWAY, ORDER_SERVICE
from services.gateway.oauth import ASSERTION
from tests.services.gateway.stack import REPORTS, Stack, User
from tests.services.gateway.test_bearer import REFUSED, Forge
from tests.services.gateway.test_oauth import assert_refused, assertion
from tests.services.gateway.test_revocation import carnet

INACTIVE = {"active": False}


@pytest_asyncio.fixture(scope="module")
async def operator(stack: Stack) -> AsyncIterator[User]:
    """Somebody with the scope `tokens:introspect`."""
    async with stack.operator() as user:
        yield user


async def known(operator: User, token: str, **parameters: str) -> dict[str, Any]:
    """What the operator is told about a token."""
    answer = await operator.http.post("/oauth/introspect", data={"token": token, **parameters})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    told: dict[str, Any] = answer.json()
    return told


async def known_to(stack: Stack, client_id: str, token: str) -> dict[str, Any]:
    """What a client is told, which proves itself by an assertion."""
    proof = assertion(stack, client_id=client_id, key=stack.seal_key(client_id))
    form = {"token": token, "client_assertion_type": ASSERTION, "client_assertion": proof}
    async with httpx.AsyncClient(base_url=stack.url) as http:
        answer = await http.post("/oauth/introspect", data=form)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_an_access_token_is_told_with_its_claims(ada: User, operator: User) -> None:
    told = await known(operator, ada.tokens["access_token"])

    assert told == {
        "active": True,
        "scope": "orders:read orders:write",
        "client_id": "api-gateway",
        "token_type": "Bearer",
        "exp": ada.claims.exp,
        "iat": ada.claims.iat,
        "sub": ada.sub,
        "aud": "api-gateway",
        "iss": "user-service",
        "jti": ada.claims.jti,
        "sid": ada.claims.sid,
    }


async def test_a_refresh_token_is_told_too(ada: User, operator: User) -> None:
    told = await known(operator, ada.tokens["refresh_token"], token_type_hint="access_token")

    assert (told["active"], told["sub"], told["sid"]) == (True, ada.sub, ada.claims.sid)
    assert "token_type" not in told


async def test_a_carnet_is_told_to_its_receiver_with_who_acts(stack: Stack, ada: User) -> None:
    told = await known_to(stack, ORDER_SERVICE, carnet(stack, ada))

    assert (told["active"], told["sub"], told["aud"]) == (True, ada.sub, ORDER_SERVICE)
    assert told["act"] == {"sub": GATEWAY}


async def test_a_client_is_told_of_its_own_tokens_and_of_no_other(stack: Stack, ada: User) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as http:
        grant = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion(stack),
        }
        own = (await http.post("/oauth/token", data=grant)).json()["access_token"]

    assert (await known_to(stack, REPORTS, own))["sub"] == "service:reports"
    for token in (ada.tokens["access_token"], ada.tokens["refresh_token"], carnet(stack, ada)):
        assert await known_to(stack, REPORTS, token) == INACTIVE


@pytest.mark.parametrize("token", ["unknown", "not.a.token", "\x00", "…", "x" * 60_000])
async def test_of_what_nobody_knows_nothing_is_told(operator: User, token: str) -> None:
    assert await known(operator, token) == INACTIVE


@pytest.mark.parametrize(
    "forge",
    [forge for forge, code in REFUSED if code in {"expired", "bad_signature", "unknown_key"}],
    ids=lambda forge: forge.__name__,
)
async def test_of_what_is_not_genuine_nothing_is_told(
    stack: Stack, anyone: User, operator: User, forge: Forge
) -> None:
    assert await known(operator, forge(stack, anyone)) == INACTIVE


async def test_a_token_is_not_active_from_the_moment_on_in_which_it_is_revoked(
    stack: Stack, ada: User, operator: User
) -> None:
    """Told by the issuer itself each time, and never from a cache."""
    tokens = [ada.tokens["access_token"], ada.tokens["refresh_token"], carnet(stack, ada)]
    for token in tokens:
        assert (await known(operator, token))["active"] is True
    del ada.http.headers["Authorization"]
    await ada.http.post("/oauth/revoke", data={"token": ada.tokens["refresh_token"]})

    assert [await known(operator, token) for token in tokens] == [INACTIVE] * 3


async def test_a_stranger_is_told_nothing(stack: Stack, ada: User) -> None:
    proofs: list[dict[str, str]] = [
        {},
        {"client_id": REPORTS},
        {"client_id": REPORTS, "client_secret": "guessed"},
        {
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion(stack, key=SigningKey.generate()),
        },
        {
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion(stack, now=time.time() - 600),
        },
    ]
    async with httpx.AsyncClient(base_url=stack.url) as http:
        for proof in proofs:
            form = {"token": ada.tokens["access_token"], **proof}
            answer = await http.post("/oauth/introspect", data=form)

            assert_refused(answer, 401, "invalid_client")


async def test_whoever_lacks_the_scope_is_told_which(ada: User) -> None:
    answer = await ada.http.post("/oauth/introspect", data={"token": ada.tokens["access_token"]})

    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert 'scope="tokens:introspect"' in answer.headers["www-authenticate"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer x", "bearer e30.e30.e30"])
async def test_a_bearer_token_that_is_refused_is_an_invalid_token(
    stack: Stack, authorization: str
) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as http:
        answer = await http.post(
            "/oauth/introspect", data={"token": "x"}, headers={"Authorization": authorization}
        )

    assert_refused(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_one_proof_is_enough(stack: Stack, operator: User) -> None:
    form = {
        "token": "x",
        "client_assertion_type": ASSERTION,
        "client_assertion": assertion(stack),
    }

    assert_refused(await operator.http.post("/oauth/introspect", data=form), 400, "invalid_request")


async def test_two_bearer_tokens_are_one_too_many(stack: Stack, operator: User) -> None:
    headers = [("Authorization", operator.http.headers["Authorization"])] * 2
    async with httpx.AsyncClient(base_url=stack.url) as http:
        answer = await http.post("/oauth/introspect", data={"token": "x"}, headers=headers)

    assert_refused(answer, 400, "invalid_request")


async def test_other_credentials_are_answered_with_their_own_scheme(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("/oauth/introspect", data={"token": "x"}, auth=("reports", "secret"))

    assert_refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"] == 'Basic realm="carnet"'


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": ["x", "x"]}])
async def test_without_one_token_there_is_nothing_to_tell(
    operator: User, form: dict[str, Any]
) -> None:
    assert_refused(await operator.http.post("/oauth/introspect", data=form), 400, "invalid_request")


async def test_a_token_in_the_address_is_refused(ada: User, operator: User) -> None:
    answer = await operator.http.post(
        "/oauth/introspect", params={"token": ada.tokens["access_token"]}, data={}
    )

    assert_refused(answer, 400, "invalid_request")
    assert ada.tokens["access_token"] not in answer.text
