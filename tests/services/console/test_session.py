"""Who may sign in at the console, what each route asks for, and whose tokens it takes."""

import time
from typing import Any

import httpx
import pytest

from auth.tokens import Issuer
from services.contracts.scopes import (
    DEAD_LETTERS_RELEASE,
    KEYS_ROTATE,
    OPERATIONS_READ,
    SESSIONS_REVOKE,
)
from services.contracts.topology import GATEWAY, OPERATOR_DESK
from services.demo.client import Account, ShopClient
from services.local.stack import LocalStack
from services.users.acts import Asker
from tests.e2e.letterbox import Letterbox
from tests.services.console.conftest import register_of
from tests.services.console.desk import PASSWORD, Desk, claim, signed_in, until

pytestmark = pytest.mark.timeout(300)

DIGEST = "0" * 64
ROUTES: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "GET /letters": ("GET", OPERATIONS_READ, None),
    f"GET /letters/{DIGEST}": ("GET", OPERATIONS_READ, None),
    "POST /letters/release": (
        "POST",
        DEAD_LETTERS_RELEASE,
        {"queue": "orders.commands", "letters": [DIGEST]},
    ),
    "POST /letters/discard": (
        "POST",
        DEAD_LETTERS_RELEASE,
        {"queue": "orders.commands", "letters": [DIGEST]},
    ),
    "GET /accounts": ("GET", OPERATIONS_READ, None),
    "GET /accounts/x/sessions": ("GET", OPERATIONS_READ, None),
    "DELETE /sessions/x": ("DELETE", SESSIONS_REVOKE, None),
    "DELETE /accounts/ada/sessions": ("DELETE", SESSIONS_REVOKE, None),
    "GET /keys": ("GET", OPERATIONS_READ, None),
    "POST /keys/rotate": ("POST", KEYS_ROTATE, None),
    "POST /keys/x/retire": ("POST", KEYS_ROTATE, None),
    "GET /standing": ("GET", OPERATIONS_READ, None),
    "GET /queues": ("GET", OPERATIONS_READ, None),
    "GET /rates": ("GET", OPERATIONS_READ, None),
    "GET /audit": ("GET", OPERATIONS_READ, None),
}
EVERYTHING = frozenset({OPERATIONS_READ, DEAD_LETTERS_RELEASE, SESSIONS_REVOKE, KEYS_ROTATE})


def token(
    issuer: Issuer, scopes: frozenset[str], client_id: str = OPERATOR_DESK, audience: str = GATEWAY
) -> str:
    """An access token as the issuer makes them, of a session that nobody has ended."""
    now = time.time()
    return issuer.access_token(
        subject="6b8e1f0a-5f6c-4c55-9d53-0c1a6b9d7f11",
        audience=audience,
        client_id=client_id,
        scopes=scopes,
        session="0d4f0f57-6d3a-4a39-8a2f-6b0f7b9f2d10",
        epoch=0,
        auth_time=now,
        now=now,
    )


async def call(http: httpx.AsyncClient, route: str, access_token: str | None) -> httpx.Response:
    method, path = route.split(" ")
    headers = {} if access_token is None else {"Authorization": f"Bearer {access_token}"}
    return await http.request(method, path, headers=headers, json=ROUTES[route][2])


async def test_an_operator_signs_in_and_the_session_goes_on(
    http: httpx.AsyncClient, operator: str
) -> None:
    answer = await http.post("/session", json={"name": operator, "password": PASSWORD})

    tokens = answer.json()
    assert tokens.keys() == {
        "access_token",
        "refresh_token",
        "expires_in",
        "scope",
        "token_type",
    }
    assert tokens["token_type"] == "Bearer"
    assert set(tokens["scope"].split()) >= EVERYTHING
    assert claim(tokens["access_token"], "client_id") == OPERATOR_DESK
    assert answer.headers["cache-control"] == "no-store"

    renewed = await http.post("/session/refresh", json={"refresh_token": tokens["refresh_token"]})

    assert renewed.status_code == 200
    assert claim(renewed.json()["access_token"], "sid") == claim(tokens["access_token"], "sid")


async def test_a_wrong_password_is_refused(http: httpx.AsyncClient, operator: str) -> None:
    answer = await http.post("/session", json={"name": operator, "password": "another"})

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


async def test_a_customer_is_let_nowhere_and_has_no_session_left(
    http: httpx.AsyncClient, desk: Desk, ada: Account
) -> None:
    answer = await http.post("/session", json={"name": ada.name, "password": PASSWORD})

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    sub = claim(ada.access_token, "sub")
    sessions = (await desk.get(f"/accounts/{sub}/sessions"))["sessions"]
    ended = {each["client_id"]: each["live"] for each in sessions}
    assert ended == {OPERATOR_DESK: False, GATEWAY: True}


async def test_a_session_that_was_ended_opens_nothing_any_more(
    http: httpx.AsyncClient, desk: Desk
) -> None:
    await desk.delete("/session", expect=204)

    assert (await desk.get("/queues", expect=401))["code"] == "revoked"
    spent = {"refresh_token": desk.tokens["refresh_token"]}
    assert (await http.post("/session/refresh", json=spent)).status_code == 401


@pytest.mark.parametrize("route", ROUTES)
async def test_without_a_token_a_route_is_closed(http: httpx.AsyncClient, route: str) -> None:
    answer = await call(http, route, None)

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")


@pytest.mark.parametrize("route", ROUTES)
async def test_a_route_wants_its_scope_and_no_other_will_do(
    http: httpx.AsyncClient, letterbox: Letterbox, route: str
) -> None:
    others = EVERYTHING - {ROUTES[route][1]}

    answer = await call(http, route, token(letterbox.issuer, others))

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert f'scope="{ROUTES[route][1]}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("route", ROUTES)
async def test_a_token_of_another_client_is_refused_whatever_it_carries(
    http: httpx.AsyncClient, letterbox: Letterbox, route: str
) -> None:
    answer = await call(http, route, token(letterbox.issuer, EVERYTHING, client_id=GATEWAY))

    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_client")


async def test_what_an_operator_has_got_at_the_gateway_opens_nothing_here(
    http: httpx.AsyncClient, shop: ShopClient, operator: str
) -> None:
    account = await shop.sign_in(operator, PASSWORD)

    answer = await call(http, "GET /queues", account.access_token)

    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_client")


async def test_a_token_for_another_audience_is_refused(
    http: httpx.AsyncClient, letterbox: Letterbox
) -> None:
    unfit = token(letterbox.issuer, EVERYTHING, audience="order-service")

    answer = await call(http, "GET /queues", unfit)

    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_audience")


async def test_an_operator_whose_access_is_ended_is_out_at_once(
    watched: LocalStack, http: httpx.AsyncClient, desk: Desk
) -> None:
    await desk.get("/queues")

    async with register_of(watched) as register:
        await register.accounts.disable(Asker.operator(), desk.name)

    async def refused() -> bool:
        headers = {"Authorization": f"Bearer {desk.tokens['access_token']}"}
        return (await http.get("/queues", headers=headers)).status_code == 401

    await until(refused)
    assert (await desk.get("/queues", expect=401))["code"] == "revoked"


async def test_two_operators_have_sessions_of_their_own(
    http: httpx.AsyncClient, desk: Desk
) -> None:
    other = await signed_in(http, desk.name)

    await desk.delete("/session", expect=204)

    await other.get("/queues")


async def test_nothing_says_what_routes_there_are(watched: LocalStack) -> None:
    async with httpx.AsyncClient(base_url=watched.services["console"].url) as anybody:
        for path in ("/openapi.json", "/docs", "/redoc", "/metrics", "/"):
            assert (await anybody.get(path)).status_code == 404


async def test_the_gateway_leads_to_the_console(watched: LocalStack) -> None:
    async with httpx.AsyncClient(base_url=watched.gateway_url) as anybody:
        answer = await anybody.get("/console")

    assert (answer.status_code, answer.headers["location"]) == (307, watched.console_url)
