"""The revocation endpoint, in the words of RFC 7009."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from aio_pika import connect

from messaging.topology import COMMANDS
from services.contracts.topology import GATEWAY, ORDER_SERVICE
from services.gateway.oauth import ASSERTION
from services.local.logins import OPERATOR
from tests.services.gateway.stack import PATIENCE, Stack, User, sign_in
from tests.services.gateway.test_oauth import assert_refused, assertion

Choose = Callable[[Stack, User], str]


async def revoke(http: httpx.AsyncClient, **parameters: Any) -> httpx.Response:
    http.headers.pop("Authorization", None)
    return await http.post("/oauth/revoke", data=parameters)


def proof(stack: Stack, **changed: Any) -> dict[str, str]:
    return {
        "client_assertion_type": ASSERTION,
        "client_assertion": assertion(stack, **changed),
    }


def access_token(_stack: Stack, user: User) -> str:
    return str(user.tokens["access_token"])


def refresh_token(_stack: Stack, user: User) -> str:
    return str(user.tokens["refresh_token"])


def carnet(stack: Stack, user: User) -> str:
    return stack.issuer.carnet(
        user.claims,
        actor=GATEWAY,
        audience=ORDER_SERVICE,
        scopes=user.claims.scopes,
        now=time.time(),
    )


async def revoked(user: User) -> bool:
    """Wait until the gateway itself refuses the user's access token.

    A moment before, it may still have to ask the issuer, who gives it no carnet any more; or, where
    it was cut off, have to learn first what it missed.
    """
    headers = {"Authorization": f"Bearer {user.tokens['access_token']}"}
    async with asyncio.timeout(PATIENCE):
        while (answer := await user.http.get("/v1/orders", headers=headers)).is_success or (
            answer.json()["code"] in {"invalid_grant", "trust_unavailable"}
        ):
            pass
    return (answer.status_code, answer.json()["code"]) == (401, "revoked")


@pytest.mark.parametrize("choose", [access_token, refresh_token])
async def test_a_token_of_a_session_ends_it(stack: Stack, ada: User, choose: Choose) -> None:
    answer = await revoke(ada.http, token=choose(stack, ada))

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert await revoked(ada)
    grant = {"grant_type": "refresh_token", "refresh_token": ada.tokens["refresh_token"]}
    assert_refused(await ada.http.post("/oauth/token", data=grant), 400, "invalid_grant")


async def test_who_reads_a_carnet_on_the_broker_ends_nobodys_session(
    stack: Stack, ada: User
) -> None:
    async with await connect(stack.amqp_url(OPERATOR)) as broker:
        channel = await broker.channel()
        tap = await channel.declare_queue(exclusive=True)
        await tap.bind(COMMANDS.name, "orders.place")
        assert (await ada.place()).status_code == 202
        async with asyncio.timeout(PATIENCE), tap.iterator(no_ack=True) as passing:
            message = await anext(passing)
    read = str(message.headers["authorization"]).removeprefix("Bearer ")

    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as anonymous:
        answer = await revoke(anonymous, token=read)
        refused = await revoke(anonymous, token=read, **proof(stack))
        grant = {"grant_type": "refresh_token", "refresh_token": ada.tokens["refresh_token"]}
        refreshed = await anonymous.post("/oauth/token", data=grant)

    assert (answer.status_code, answer.content) == (200, b"")
    assert_refused(refused, 400, "unauthorized_client")
    assert refreshed.status_code == 200


async def test_the_client_that_acts_by_a_carnet_proves_it_and_ends_the_session(
    stack: Stack, ada: User
) -> None:
    own = proof(stack, client_id=GATEWAY, key=stack.seal_key(GATEWAY))

    assert (await revoke(ada.http, token=carnet(stack, ada), **own)).status_code == 200

    assert await revoked(ada)


async def test_another_session_of_the_user_goes_on(stack: Stack, ada: User) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as elsewhere:
        other = await sign_in(elsewhere, ada.name)

        await revoke(ada.http, token=ada.tokens["refresh_token"])

        assert await revoked(ada)
        assert (await other.place()).status_code == 202


async def test_what_is_revoked_may_be_revoked_again(stack: Stack, ada: User) -> None:
    for choose in (refresh_token, refresh_token, access_token):
        assert (await revoke(ada.http, token=choose(stack, ada))).status_code == 200


@pytest.mark.parametrize(
    "token", ["unknown", "not.a.token", "e30.e30.e30", "\x00", "…", "x" * 60_000]
)
async def test_a_token_that_nobody_knows_is_no_error(http: httpx.AsyncClient, token: str) -> None:
    """A client could do nothing about it (RFC 7009 §2.2)."""
    answer = await revoke(http, token=token)

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "something_else"])
async def test_a_wrong_hint_does_no_harm(ada: User, hint: str) -> None:
    await revoke(ada.http, token=ada.tokens["refresh_token"], token_type_hint=hint)

    assert await revoked(ada)


async def test_a_client_ends_no_session_of_another_one(stack: Stack, ada: User) -> None:
    answer = await revoke(ada.http, token=ada.tokens["refresh_token"], **proof(stack))

    assert_refused(answer, 400, "unauthorized_client")
    ada.http.headers["Authorization"] = f"Bearer {ada.tokens['access_token']}"
    assert (await ada.place()).status_code == 202


async def test_a_client_may_prove_itself_to_revoke(stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await revoke(http, token="unknown", client_id="reports", **proof(stack))

    assert answer.status_code == 200


async def test_a_token_that_belongs_to_no_session_is_not_revoked_this_way(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    grant = {"grant_type": "client_credentials", **proof(stack)}
    own = (await http.post("/oauth/token", data=grant)).json()["access_token"]

    answer = await revoke(http, token=own, **proof(stack))

    assert_refused(answer, 400, "unsupported_token_type")


async def test_an_assertion_that_was_used_at_one_endpoint_is_used_up_for_all(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    once = proof(stack)
    grant = {"grant_type": "client_credentials", **once}
    assert (await http.post("/oauth/token", data=grant)).status_code == 200

    assert_refused(await revoke(http, token="unknown", **once), 401, "invalid_client")


@pytest.mark.parametrize(
    ("parameters", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"token": ""}, 400, "invalid_request"),
        ({"token": ["x", "x"]}, 400, "invalid_request"),
        ({"token": "x", "token_type_hint": "y" * 101}, 400, "invalid_request"),
        ({"token": "x", "client_secret": "y"}, 401, "invalid_client"),
        ({"token": "x", "client_id": "reports"}, 401, "invalid_client"),
        ({"token": "x", "client_assertion": "y"}, 401, "invalid_client"),
        (
            {"token": "x", "client_assertion": "y", "client_assertion_type": ASSERTION},
            401,
            "invalid_client",
        ),
    ],
)
async def test_each_fault_has_its_error(
    http: httpx.AsyncClient, parameters: dict[str, Any], status: int, error: str
) -> None:
    assert_refused(await revoke(http, **parameters), status, error)


async def test_credentials_in_the_header_are_refused(ada: User) -> None:
    """A bearer token says who sent it, but not which token is meant, and is no client's proof."""
    answer = await ada.http.post("/oauth/revoke", data={"token": ada.tokens["refresh_token"]})

    assert_refused(answer, 401, "invalid_client")


async def test_a_token_in_the_address_is_refused(ada: User) -> None:
    answer = await revoke_by_address(ada)

    assert_refused(answer, 400, "invalid_request")
    ada.http.headers["Authorization"] = f"Bearer {ada.tokens['access_token']}"
    assert (await ada.place()).status_code == 202


async def revoke_by_address(user: User) -> httpx.Response:
    del user.http.headers["Authorization"]
    return await user.http.post("/oauth/revoke", params={"token": user.tokens["refresh_token"]})
