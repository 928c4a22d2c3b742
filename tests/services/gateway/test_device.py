"""The device flow (RFC 8628): codes, the verification page, and what a device is told meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from auth.jws import parse_claims
from auth.strict import parse_token
from auth.tokens import AccessClaims
from services.gateway.routes.token import DEVICE
from tests.services.gateway.browser import Page, add_client, submit
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PASSWORD, PATIENCE, Stack, User

CLI = "app:carnet-cli"


@pytest_asyncio.fixture
async def browser(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """The user's, which is not the device."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        yield http


async def start(http: httpx.AsyncClient, **changed: str) -> dict[str, Any]:
    asked = {"client_id": CLI, "scope": "orders:read", **changed}
    answer = await http.post("/oauth/device_authorization", data=asked)
    codes: dict[str, Any] = answer.raise_for_status().json()
    return codes


async def poll(http: httpx.AsyncClient, codes: dict[str, Any], **changed: str) -> httpx.Response:
    asked = {"grant_type": DEVICE, "client_id": CLI, "device_code": codes["device_code"]}
    return await http.post("/oauth/token", data={**asked, **changed})


async def type_code(http: httpx.AsyncClient, code: str) -> Page:
    """The page that says what the device asks for, or the first one again."""
    first = Page.of(await http.get("/device"))
    return Page.of(await http.post("/device", data={**first.fields, "user_code": code}))


async def test_a_user_signs_in_on_another_device(
    http: httpx.AsyncClient, browser: httpx.AsyncClient, ada: User
) -> None:
    codes = await start(http)
    page = await type_code(browser, codes["user_code"].lower().replace("-", " "))
    assert page.answer.status_code == 200
    assert codes["user_code"] in page.answer.text
    assert "command line" in page.answer.text

    done = await submit(browser, page, name=ada.name, password=PASSWORD)
    answer = await poll(http, codes)

    assert done.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    claims = parse_claims(parse_token(tokens["access_token"]), AccessClaims)
    assert (claims.sub, claims.client_id, claims.scope) == (ada.sub, CLI, "orders:read")
    assert tokens["refresh_token"]


async def test_the_codes_are_as_the_standard_has_them(
    stack: Stack, http: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    codes = await start(http)

    assert codes["verification_uri"] == f"{stack.url}/device"
    assert codes["verification_uri_complete"].endswith(f"?user_code={codes['user_code']}")
    assert (codes["expires_in"], codes["interval"]) == (600, 5)
    first, dash, second = codes["user_code"].partition("-")
    assert (len(first), dash, len(second)) == (4, "-", 4)
    assert set(first + second) <= set("BCDFGHJKLMNPQRSTVWXZ")
    prefilled = Page.of(await browser.get(codes["verification_uri_complete"]))
    assert prefilled.fields["user_code"] == codes["user_code"]
    assert "name" not in prefilled.fields  # it is still the user who goes on


async def test_a_device_that_asks_is_told_how_it_stands(
    http: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    codes = await start(http)
    errors = [(await poll(http, codes)).json()["error"] for _ in range(2)]

    page = await type_code(browser, codes["user_code"])
    await submit(browser, page, decision="deny")
    errors.append((await poll(http, codes)).json()["error"])

    assert errors == ["authorization_pending", "slow_down", "access_denied"]
    assert (await type_code(browser, codes["user_code"])).answer.status_code == 403


async def test_a_device_code_is_its_clients_and_good_for_one_use(
    stack: Stack, http: httpx.AsyncClient, browser: httpx.AsyncClient, ada: User
) -> None:
    other = await add_client(stack, "tv", redirect_uris=[], devices=True)
    codes = await start(http)
    page = await type_code(browser, codes["user_code"])
    await submit(browser, page, name=ada.name, password=PASSWORD)

    stolen = await poll(http, codes, client_id=other)
    tokens = (await poll(http, codes)).json()
    again = await poll(http, codes)

    assert stolen.json()["error"] == "invalid_grant"
    assert again.json()["error"] == "invalid_grant"
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with asyncio.timeout(PATIENCE):
        while (await http.get("/v1/orders", headers=bearer)).status_code != 401:
            pass


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_id": ""}, 400, "invalid_request"),
        ({"client_id": "app:nobody"}, 401, "invalid_client"),
        ({"client_id": "reports"}, 401, "invalid_client"),
        ({"client_id": "app:notes"}, 400, "unauthorized_client"),
        ({"scope": "orders"}, 400, "invalid_scope"),
        ({"client_secret": "x"}, 401, "invalid_client"),
    ],
    ids=str,
)
async def test_not_every_client_is_for_devices(
    stack: Stack, http: httpx.AsyncClient, changed: dict[str, str], status: int, error: str
) -> None:
    await add_client(stack)
    asked = {"client_id": CLI, **changed}

    answer = await http.post("/oauth/device_authorization", data=asked)

    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_a_wrong_password_allows_nothing(
    http: httpx.AsyncClient, browser: httpx.AsyncClient, ada: User
) -> None:
    codes = await start(http)
    page = await type_code(browser, codes["user_code"])

    for password in ("wrong", "", "x" * 257):
        wrong = await submit(browser, page, name=ada.name, password=password)
        assert wrong.status_code == 403
        assert 'role="alert"' in wrong.text
        page = Page.of(wrong)
    right = await submit(browser, page, name=ada.name, password=PASSWORD)

    assert right.status_code == 200
    assert (await poll(http, codes)).status_code == 200


async def test_an_account_that_may_do_nothing_of_it_is_not_signed_in(
    stack: Stack, http: httpx.AsyncClient, browser: httpx.AsyncClient, ada: User
) -> None:
    about = {"redirect_uris": [], "devices": True, "scopes": ["orders:read-all"]}
    client = await add_client(stack, "desk", **about)
    codes = await start(http, client_id=client, scope="orders:read-all")
    page = await type_code(browser, codes["user_code"])

    answer = await submit(browser, page, name=ada.name, password=PASSWORD)

    assert answer.status_code == 403
    waiting = await poll(http, codes, client_id=client)
    assert waiting.json()["error"] == "authorization_pending"


async def test_a_verification_form_that_another_site_made_is_not_taken(
    http: httpx.AsyncClient, browser: httpx.AsyncClient, ada: User
) -> None:
    codes = await start(http)
    page = await type_code(browser, codes["user_code"])
    filled = {**page.fields, "name": ada.name, "password": PASSWORD, "decision": "allow"}

    crossed = await browser.post("/device", data=filled, headers={"Sec-Fetch-Site": "cross-site"})
    other = await browser.post("/device", data={**filled, "form_token": "x" * 43})
    browser.cookies.clear()
    bare = await browser.post("/device", data=filled)

    assert [answer.status_code for answer in (crossed, other, bare)] == [400, 400, 400]
    assert (await poll(http, codes)).json()["error"] == "authorization_pending"


async def test_who_guesses_user_codes_waits(own_stack: OpenStack) -> None:
    """After twenty wrong ones from one place even the right one is not told."""
    stack = await own_stack()
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        codes = await start(http)
        for _ in range(22):
            wrong = await type_code(http, "BBBB-BBBB")
            assert wrong.answer.status_code == 403

        right = await type_code(http, codes["user_code"])

    assert right.answer.status_code == 403
    assert "BBBB" not in right.answer.text


async def test_so_many_devices_may_begin_from_one_place(own_stack: OpenStack) -> None:
    stack = await own_stack()
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        for _ in range(100):
            await start(http)
        answer = await http.post("/oauth/device_authorization", data={"client_id": CLI})

    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 3600


async def test_what_is_typed_as_a_code_is_text_on_the_page(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/device", params={"user_code": '"><script>alert(1)</script>'})
    again = await type_code(browser, '"><script>alert(1)</script>')

    assert "<script" not in page.text
    assert "<script" not in again.answer.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "form-action 'self';" in page.headers["content-security-policy"]
