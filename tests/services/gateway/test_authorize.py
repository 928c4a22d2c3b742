"""Authorization code with PKCE: a user signs in at the gateway, and a client gets a code."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from auth.jws import parse_claims
from auth.strict import parse_token
from auth.tokens import AccessClaims
from services.gateway.routes.authorize import repeated
from services.users.acts import Asker
from tests.services.gateway.browser import (
    CALLBACK,
    NOTES,
    Page,
    Pkce,
    add_client,
    asked,
    authorize,
    led_back,
    open_page,
    redeem,
    submit,
)
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PASSWORD, PATIENCE, TEA, Stack, User


@pytest_asyncio.fixture
async def browser(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A user's, with the client `notes` registered at the shared stack."""
    await add_client(stack)
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        yield http


@pytest.fixture
def pkce() -> Pkce:
    return Pkce()


async def tokens_of(browser: httpx.AsyncClient, name: str, **changed: str) -> dict[str, Any]:
    pkce = Pkce()
    back = await authorize(browser, name, pkce, **changed)
    answer = await redeem(browser, back["code"], pkce)
    tokens: dict[str, Any] = answer.raise_for_status().json()
    return tokens


def claims_of(token: str) -> AccessClaims:
    return parse_claims(parse_token(token), AccessClaims)


async def test_a_code_is_traded_for_tokens_of_the_user_through_the_client(
    stack: Stack, browser: httpx.AsyncClient, ada: User, pkce: Pkce
) -> None:
    back = await authorize(browser, ada.name, pkce)
    answer = await redeem(browser, back["code"], pkce)

    assert back.keys() == {"code", "state", "iss"}
    assert (back["state"], back["iss"]) == ("a state", stack.url)
    tokens = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert tokens.keys() == {
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
    }
    claims = claims_of(tokens["access_token"])
    assert (claims.sub, claims.client_id, claims.scope) == (ada.sub, NOTES, "orders:read")
    assert claims.sid != ada.claims.sid
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await browser.get("/v1/orders", headers=bearer)).status_code == 200
    assert (await browser.post("/v1/orders", json=TEA, headers=bearer)).status_code == 403
    session = (await browser.get("/v1/sessions/current", headers=bearer)).json()
    assert (session["name"], session["client_id"], session["scope"]) == (
        ada.name,
        NOTES,
        "orders:read",
    )


async def test_a_refresh_token_gives_its_own_client_no_more_than_was_allowed(
    browser: httpx.AsyncClient, ada: User
) -> None:
    tokens = await tokens_of(browser, ada.name)
    grant = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    mine = {**grant, "client_id": NOTES}

    for refused in (grant, {**grant, "client_id": "app:carnet-cli"}):
        answer = await browser.post("/oauth/token", data=refused)
        assert answer.json()["error"] == "invalid_grant"
    wider = await browser.post("/oauth/token", data={**mine, "scope": "orders:write"})
    assert wider.json()["error"] == "invalid_scope"
    newer = await browser.post("/oauth/token", data=mine)
    assert newer.json()["scope"] == "orders:read"
    again = await browser.post("/oauth/token", data=mine)
    assert again.json()["error"] == "invalid_grant"
    spent = {**mine, "refresh_token": newer.json()["refresh_token"]}
    assert (await browser.post("/oauth/token", data=spent)).json()["error"] == "invalid_grant"


async def test_a_client_ends_its_session_and_no_others(
    browser: httpx.AsyncClient, ada: User
) -> None:
    tokens = await tokens_of(browser, ada.name)
    token = {"token": tokens["refresh_token"]}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

    other = await browser.post("/oauth/revoke", data={**token, "client_id": "app:carnet-cli"})
    unnamed = await browser.post("/oauth/revoke", data=token)
    unknown = await browser.post("/oauth/revoke", data={**token, "client_id": "app:nobody"})
    assert [answer.json()["error"] for answer in (other, unnamed, unknown)] == [
        "unauthorized_client",
        "unauthorized_client",
        "invalid_client",
    ]
    mine = await browser.post("/oauth/revoke", data={**token, "client_id": NOTES})

    assert mine.status_code == 200
    assert (await browser.get("/v1/sessions/current", headers=bearer)).status_code == 401


async def test_where_no_scope_is_named_the_client_gets_all_that_both_may_do(
    browser: httpx.AsyncClient, ada: User, stack: Stack
) -> None:
    await add_client(
        stack, "wide", redirect_uris=["https://wide.example/"], scopes=["orders:read-all"]
    )
    await add_client(
        stack,
        "mixed",
        redirect_uris=["https://mixed.example/"],
        scopes=["orders:read", "orders:read-all"],
    )
    pkce = Pkce()
    wide = {"client_id": "app:wide", "redirect_uri": None, "scope": None}
    page = await open_page(browser, asked(pkce, **wide))
    nothing = await submit(browser, page, name=ada.name, password=PASSWORD)
    assert led_back(nothing, "https://wide.example/")["error"] == "invalid_scope"

    page = await open_page(browser, asked(pkce, **{**wide, "client_id": "app:mixed"}))
    answer = await submit(browser, page, name=ada.name, password=PASSWORD)
    code = led_back(answer, "https://mixed.example/")["code"]
    tokens = await redeem(browser, code, pkce, client_id="app:mixed", redirect_uri=None)

    assert tokens.json()["scope"] == "orders:read"


async def test_a_user_who_does_not_want_it_is_led_back_without_a_code(
    browser: httpx.AsyncClient, pkce: Pkce
) -> None:
    page = await open_page(browser, asked(pkce))

    back = led_back(await submit(browser, page, decision="deny"))

    assert back["error"] == "access_denied"
    assert back["state"] == "a state"
    assert "code" not in back


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "=" * 43}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"scope": "orders:read-all"}, "invalid_scope"),
        ({"scope": "orders:read  orders:write"}, "invalid_scope"),
        ({"state": "\n"}, "invalid_request"),
        ({"state": "x" * 2001}, "invalid_request"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_request_is_told_to_its_client(
    stack: Stack,
    browser: httpx.AsyncClient,
    pkce: Pkce,
    changed: dict[str, str | None],
    error: str,
) -> None:
    """RFC 6749 §4.1.2.1. Without PKCE, or with `plain`, there is nothing to sign in to."""
    answer = await browser.get("/oauth/authorize", params=asked(pkce, **changed))

    back = led_back(answer)
    assert (back["error"], back["iss"]) == (error, stack.url)
    assert back.get("state") == (None if "state" in changed else "a state")


@pytest.mark.parametrize("twice", ["scope", "state", "code_challenge", "response_type"])
async def test_a_parameter_that_is_there_twice_is_an_error(
    browser: httpx.AsyncClient, pkce: Pkce, twice: str
) -> None:
    pairs = httpx.QueryParams(asked(pkce)).add(twice, asked(pkce)[twice])

    back = led_back(await browser.get("/oauth/authorize", params=pairs))

    assert back["error"] == "invalid_request"
    assert ("state" in back) == (twice != "state")


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": None},
        {"client_id": "app:nobody"},
        {"client_id": "api-gateway"},
        {"client_id": "app:notes\0"},
        {"client_id": "app:carnet-cli"},
        {"client_id": "x" * 201},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "https://notes.example/callback/"},
        {"redirect_uri": "https://notes.example/callback?x=1"},
        {"redirect_uri": "https://notes.example/callback#x"},
        {"redirect_uri": "https://notes.example/Callback"},
        {"redirect_uri": "https://NOTES.example/callback"},
        {"redirect_uri": "HTTPS://notes.example/callback"},
        {"redirect_uri": "http://notes.example/callback"},
        {"redirect_uri": "https://notes.example:443/callback"},
        {"redirect_uri": "https://notes.example:8443/callback"},
        {"redirect_uri": "https://notes.example@evil.example/callback"},
        {"redirect_uri": "https://evil@notes.example/callback"},
        {"redirect_uri": "https://notes.example.evil.example/callback"},
        {"redirect_uri": "https://notes.example/callback/../elsewhere"},
        {"redirect_uri": "https://notes.example/%63allback"},
        {"redirect_uri": "https://notes.example//callback"},
        {"redirect_uri": "https://notes.example\\@evil.example/callback"},
        {"redirect_uri": " https://notes.example/callback"},
        {"redirect_uri": "https://notes.example/callback\r\nSet-Cookie: x=y"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "//notes.example/callback"},
        {"redirect_uri": "x" * 501},
    ],
    ids=str,
)
async def test_nobody_is_led_to_an_address_that_is_not_the_clients(
    browser: httpx.AsyncClient, pkce: Pkce, changed: dict[str, str | None]
) -> None:
    """Compared as strings, whatever else would be the same place (RFC 9700 §2.1, §4.1)."""
    asked_for = asked(pkce, **changed)
    page = await browser.get("/oauth/authorize", params=asked_for)
    genuine = await open_page(browser, asked(pkce))
    forged = await submit(browser, Page(page, {**genuine.fields, **asked_for}, genuine.action))
    if "client_id" in changed and changed["client_id"] is None:
        del genuine.fields["client_id"]
        forged = await submit(browser, genuine)

    for answer in (page, forged):
        assert answer.status_code == 400
        assert "location" not in answer.headers
        assert "evil" not in answer.text


@pytest.mark.parametrize("twice", ["client_id", "redirect_uri"])
async def test_nobody_is_led_anywhere_where_two_addresses_are_named(
    browser: httpx.AsyncClient, pkce: Pkce, twice: str
) -> None:
    pairs = httpx.QueryParams(asked(pkce)).add(twice, asked(pkce)[twice])

    answer = await browser.get("/oauth/authorize", params=pairs)

    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_an_app_on_the_users_own_machine_listens_on_any_port(
    stack: Stack, browser: httpx.AsyncClient, ada: User, pkce: Pkce, host: str
) -> None:
    """RFC 8252 §7.3; and it is that very address that is asked for when the code is traded."""
    addresses = ["http://127.0.0.1/done", "http://[::1]/done", "http://localhost/done"]
    await add_client(stack, "desktop", redirect_uris=addresses)
    address = f"http://{host}:49152/done"
    desktop = {"client_id": "app:desktop", "redirect_uri": address}
    page = await open_page(browser, asked(pkce, **desktop))

    answer = await submit(browser, page, name=ada.name, password=PASSWORD)

    code = led_back(answer, address)["code"]
    assert (await redeem(browser, code, pkce, **desktop)).status_code == 200
    for other in (
        f"http://{host}:49152/other",
        f"http://{host}:0/done",
        f"http://{host}:65536/done",
        f"http://{host}:1@evil.example/done",
        f"https://{host}:49152/done",
        "http://localhost:49152/done",
        "http://127.0.0.2:49152/done",
    ):
        elsewhere = asked(pkce, client_id="app:desktop", redirect_uri=other)
        assert (await browser.get("/oauth/authorize", params=elsewhere)).status_code == 400


async def test_a_wrong_password_shows_the_page_again_and_counts(own_stack: OpenStack) -> None:
    """As signing in does anywhere: after five failures even the right one is not told."""
    stack = await own_stack()
    await add_client(stack)
    async with (
        stack.user() as ada,
        httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as browser,
    ):
        page = await open_page(browser, asked(Pkce()))
        for _ in range(6):
            wrong = await submit(browser, page, name=ada.name, password="wrong")
            assert wrong.status_code == 403
            assert 'role="alert"' in wrong.text
            assert "wrong</" not in wrong.text
        right = await submit(browser, page, name=ada.name, password=PASSWORD)

    assert right.status_code == 403


@pytest.mark.parametrize(
    "credentials",
    [{"name": "ada"}, {"name": "ada", "password": "x" * 257}, {"name": "x" * 201, "password": "x"}],
    ids=["no password", "too long a password", "too long a name"],
)
async def test_what_cannot_be_a_password_is_a_wrong_one(
    browser: httpx.AsyncClient, pkce: Pkce, credentials: dict[str, str]
) -> None:
    page = await open_page(browser, asked(pkce))

    assert (await submit(browser, page, **credentials)).status_code == 403


async def test_a_code_is_traded_once_and_the_second_time_ends_the_session(
    browser: httpx.AsyncClient, ada: User, pkce: Pkce
) -> None:
    """RFC 6749 §4.1.2: whoever has read the code has it as well."""
    code = (await authorize(browser, ada.name, pkce))["code"]
    tokens = (await redeem(browser, code, pkce)).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await browser.get("/v1/sessions/current", headers=bearer)).status_code == 200

    again = await redeem(browser, code, pkce)

    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    grant = {
        "grant_type": "refresh_token",
        "client_id": NOTES,
        "refresh_token": tokens["refresh_token"],
    }
    assert (await browser.post("/oauth/token", data=grant)).json()["error"] == "invalid_grant"
    async with asyncio.timeout(PATIENCE):
        while (await browser.get("/v1/orders", headers=bearer)).status_code != 401:
            pass


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": "another" * 7},
        {"redirect_uri": "https://notes.example/other"},
        {"redirect_uri": None},
        {"client_id": "app:carnet-cli"},
    ],
    ids=["verifier", "address", "no address", "client"],
)
async def test_a_code_that_was_read_is_worth_nothing_to_who_read_it(
    browser: httpx.AsyncClient, ada: User, pkce: Pkce, changed: dict[str, str | None]
) -> None:
    """Code injection (RFC 9700 §4.5): a code belongs to one client, address and verifier."""
    code = (await authorize(browser, ada.name, pkce))["code"]

    stolen = await redeem(browser, code, pkce, **changed)

    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")


async def test_a_clients_removal_ends_the_sessions_that_users_have_with_it(
    stack: Stack, browser: httpx.AsyncClient, ada: User, pkce: Pkce
) -> None:
    await add_client(stack, "gone")
    gone = {"client_id": "app:gone"}
    code = (await authorize(browser, ada.name, pkce, **gone))["code"]
    tokens = (await redeem(browser, code, pkce, **gone)).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await browser.get("/v1/orders", headers=bearer)).status_code == 200

    async with stack.register() as register:
        assert await register.clients.remove(Asker.operator(), "app:gone") == 1

    async with asyncio.timeout(PATIENCE):
        while (await browser.get("/v1/orders", headers=bearer)).status_code != 401:
            pass
    assert (await browser.get("/oauth/authorize", params=asked(pkce, **gone))).status_code == 400


# ---- the page itself


async def test_the_page_is_framed_by_nobody_and_loads_nothing(
    browser: httpx.AsyncClient, pkce: Pkce
) -> None:
    answer = await browser.get("/oauth/authorize", params=asked(pkce))

    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self' https://notes.example;" in policy
    assert "frame-ancestors 'none'; base-uri 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for forbidden in ("<script", "<img", "<link", "http-equiv", "src=", "href=", " style="):
        assert forbidden not in answer.text


async def test_the_pages_cookie_is_for_this_site_and_no_script(
    own_stack: OpenStack,
) -> None:
    stack = await own_stack(public_url="https://carnet.example")
    await add_client(stack)
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        answer = await http.get("/oauth/authorize", params=asked(Pkce()))

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-carnet-form=")
    assert {part.strip() for part in cookie.lower().split(";")[1:]} == {
        "httponly",
        "path=/",
        "samesite=lax",
        "secure",
    }


@pytest.mark.parametrize(
    "harm",
    [
        {"form_token": ""},
        {"form_token": "x" * 43},
        {"form_token": "\N{SNOWMAN}" * 43},
    ],
    ids=["no token", "another token", "no token that could be"],
)
async def test_a_form_that_another_site_made_is_not_taken(
    browser: httpx.AsyncClient, ada: User, pkce: Pkce, harm: dict[str, str]
) -> None:
    """Else a page elsewhere could sign its reader in as somebody else (login CSRF)."""
    page = await open_page(browser, asked(pkce))

    answer = await submit(browser, page, name=ada.name, password=PASSWORD, **harm)

    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_form_that_comes_without_its_cookie_or_from_another_site_is_not_taken(
    browser: httpx.AsyncClient, ada: User, pkce: Pkce
) -> None:
    page = await open_page(browser, asked(pkce))
    filled = {**page.fields, "name": ada.name, "password": PASSWORD, "decision": "allow"}

    crossed = await browser.post(page.action, data=filled, headers={"Sec-Fetch-Site": "cross-site"})
    neighbours = await browser.post(
        page.action, data=filled, headers={"Sec-Fetch-Site": "same-site"}
    )
    as_json = await browser.post(page.action, json=filled)
    twice = await browser.post(
        page.action,
        content=f"{httpx.QueryParams(filled)}&client_id=app:notes",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    browser.cookies.clear()
    bare = await browser.post(page.action, data=filled)

    for answer in (crossed, neighbours, as_json, twice, bare):
        assert answer.status_code == 400
        assert "location" not in answer.headers


async def test_two_tabs_of_one_browser_can_be_open(browser: httpx.AsyncClient, ada: User) -> None:
    first, second = Pkce(), Pkce()
    pages = [await open_page(browser, asked(pkce)) for pkce in (first, second)]

    for page in pages:
        assert led_back(await submit(browser, page, name=ada.name, password=PASSWORD))["code"]


async def test_what_a_stranger_sends_is_text_on_the_page(
    stack: Stack, browser: httpx.AsyncClient, pkce: Pkce
) -> None:
    await add_client(stack, "odd", title="<b>Odd & 'sons'</b>")
    odd = {"client_id": "app:odd", "state": '"><script>alert(1)</script>'}
    page = await open_page(browser, asked(pkce, **odd))
    again = await submit(browser, page, name='"><i>', password="wrong")

    for text in (page.answer.text, again.text):
        assert "<b>" not in text
        assert "<script" not in text
        assert "<i>" not in text
    assert page.fields["state"] == odd["state"]


async def test_neither_password_nor_code_nor_token_is_in_an_address_of_ours(
    browser: httpx.AsyncClient, ada: User, pkce: Pkce
) -> None:
    """The form goes in a body, and what could be sent in an address is not taken from there."""
    page = await open_page(browser, {**asked(pkce), "password": PASSWORD, "name": ada.name})
    back = await authorize(browser, ada.name, pkce)
    query = {
        "grant_type": "authorization_code",
        "client_id": NOTES,
        "code": back["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": pkce.verifier,
    }

    in_address = await browser.post("/oauth/token", params=query)

    assert PASSWORD not in page.answer.text
    assert ada.name not in page.answer.text
    assert in_address.json()["error"] == "invalid_request"
    assert (await redeem(browser, back["code"], pkce)).status_code == 200


def test_parameters_without_end_are_each_looked_at_once() -> None:
    names = iter(["state", "scope", "state"] * 100_000)

    assert repeated(names) == {"state", "scope"}
    assert repeated(["state", "scope"]) == set()
