"""The token endpoint, in the words of RFC 6749."""

import time
from typing import Any

import httpx
import pytest

from auth.assertion import sign_assertion
from auth.jws import parse_claims
from auth.keys import SigningKey
from auth.strict import parse_token
from auth.tokens import CarnetClaims
from services.gateway.oauth import ASSERTION
from services.gateway.routes.token import ACCESS_TOKEN_TYPE, DEVICE, EXCHANGE, JWT_TYPE
from tests.services.gateway.stack import PARTNER, REPORTS, Stack, User

CLI = "app:carnet-cli"
REDEEM = {
    "grant_type": "authorization_code",
    "client_id": CLI,
    "code": "x",
    "code_verifier": "v" * 43,
}


async def ask(http: httpx.AsyncClient, **parameters: Any) -> httpx.Response:
    http.headers.pop("Authorization", None)
    return await http.post("/oauth/token", data=parameters)


def assert_refused(answer: httpx.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json().keys() <= {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert ("www-authenticate" in answer.headers) == (status == 401)


def assertion(stack: Stack, **changed: Any) -> str:
    about: dict[str, Any] = {
        "client_id": REPORTS,
        "key": stack.seal_key(REPORTS),
        "audience": "user-service",
        "now": time.time(),
        **changed,
    }
    return sign_assertion(about.pop("client_id"), about.pop("key"), **about)


async def test_a_refresh_token_is_traded_for_new_tokens(ada: User) -> None:
    answer = await ask(
        ada.http, grant_type="refresh_token", refresh_token=ada.tokens["refresh_token"]
    )

    tokens = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert tokens["token_type"] == "Bearer"
    assert tokens["refresh_token"] != ada.tokens["refresh_token"]
    ada.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    assert (await ada.place()).status_code == 202


async def test_a_refresh_may_ask_for_less(ada: User) -> None:
    answer = await ask(
        ada.http,
        grant_type="refresh_token",
        refresh_token=ada.tokens["refresh_token"],
        scope="orders:read",
    )

    assert answer.json()["scope"] == "orders:read"


async def test_a_refresh_token_that_is_used_again_ends_the_session(ada: User) -> None:
    grant = {"grant_type": "refresh_token", "refresh_token": ada.tokens["refresh_token"]}
    newer = (await ask(ada.http, **grant)).json()

    assert_refused(await ask(ada.http, **grant), 400, "invalid_grant")
    grant["refresh_token"] = newer["refresh_token"]
    assert_refused(await ask(ada.http, **grant), 400, "invalid_grant")


async def test_a_client_gets_a_token_of_its_own_for_an_assertion(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    answer = await ask(
        http,
        grant_type="client_credentials",
        client_assertion_type=ASSERTION,
        client_assertion=assertion(stack),
        client_id=REPORTS,
    )

    tokens = answer.json()
    assert answer.status_code == 200
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert tokens["scope"] == "orders:read"


@pytest.mark.parametrize(
    "changed",
    [
        {"key": SigningKey.generate()},
        {"audience": "another-issuer"},
        {"client_id": "order-service"},
        {"now": time.time() - 600},
        {"now": time.time() + 3600},
    ],
    ids=["another key", "another audience", "another client", "too old", "not yet"],
)
async def test_a_client_that_is_not_who_it_says_is_refused(
    stack: Stack, http: httpx.AsyncClient, changed: dict[str, Any]
) -> None:
    answer = await ask(
        http,
        grant_type="client_credentials",
        client_assertion_type=ASSERTION,
        client_assertion=assertion(stack, **changed),
    )

    assert_refused(answer, 401, "invalid_client")


@pytest.mark.parametrize("named", ["issuer", "token_endpoint"])
async def test_an_assertion_may_be_made_out_to_what_the_metadata_names(
    stack: Stack, http: httpx.AsyncClient, named: str
) -> None:
    """As OAuth clients do, who know nothing but the metadata (RFC 7523 §3)."""
    metadata = (await http.get("/.well-known/oauth-authorization-server")).json()

    answer = await ask(
        http,
        grant_type="client_credentials",
        client_assertion_type=ASSERTION,
        client_assertion=assertion(stack, audience=metadata[named]),
    )

    assert answer.status_code == 200


async def test_an_assertion_to_a_host_that_the_client_made_up_is_refused(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    answer = await http.post(
        "/oauth/token",
        data={
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion(stack, audience="http://evil.example/oauth/token"),
        },
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )

    assert_refused(answer, 401, "invalid_client")


async def test_an_assertion_is_used_once(stack: Stack, http: httpx.AsyncClient) -> None:
    once = assertion(stack)
    grant = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION,
        "client_assertion": once,
    }

    assert (await ask(http, **grant)).status_code == 200
    assert_refused(await ask(http, **grant), 401, "invalid_client")


async def test_a_client_asks_for_nothing_that_it_is_not_given(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    answer = await ask(
        http,
        grant_type="client_credentials",
        client_assertion_type=ASSERTION,
        client_assertion=assertion(stack),
        scope="orders:write",
    )

    assert_refused(answer, 400, "invalid_scope")


@pytest.mark.parametrize(
    ("parameters", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "password", "username": "a"}, 400, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_request"),
        ({**REDEEM, "code_verifier": ""}, 400, "invalid_request"),
        ({**REDEEM, "code_verifier": "short"}, 400, "invalid_request"),
        ({**REDEEM, "code": ""}, 400, "invalid_request"),
        ({**REDEEM, "code": "x" * 201}, 400, "invalid_request"),
        (REDEEM, 400, "invalid_grant"),
        ({**REDEEM, "client_id": "app:nobody"}, 401, "invalid_client"),
        ({**REDEEM, "client_id": "reports"}, 401, "invalid_client"),
        ({**REDEEM, "client_id": "\0"}, 401, "invalid_client"),
        ({**REDEEM, "client_secret": "x"}, 401, "invalid_client"),
        ({"grant_type": DEVICE, "device_code": "x"}, 400, "invalid_request"),
        ({"grant_type": DEVICE, "client_id": CLI}, 400, "invalid_request"),
        ({"grant_type": DEVICE, "client_id": CLI, "device_code": "x"}, 400, "invalid_grant"),
        ({"grant_type": EXCHANGE, "subject_token": "x"}, 401, "invalid_client"),
        ({"grant_type": ["refresh_token", "refresh_token"]}, 400, "invalid_request"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, 400, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 501}, 400, "invalid_request"),
        (
            {"grant_type": "refresh_token", "refresh_token": "x", "client_secret": "y"},
            401,
            "invalid_client",
        ),
        (
            {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "reports"},
            401,
            "invalid_client",
        ),
        (
            {
                "grant_type": "client_credentials",
                "client_assertion": "x",
                "client_assertion_type": "another",
            },
            401,
            "invalid_client",
        ),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        (
            {"grant_type": "client_credentials", "client_id": "reports", "client_secret": "x"},
            401,
            "invalid_client",
        ),
        (
            {"grant_type": "client_credentials", "client_assertion": "x"},
            401,
            "invalid_client",
        ),
        (
            {
                "grant_type": "client_credentials",
                "client_assertion": "not.a.token",
                "client_assertion_type": ASSERTION,
            },
            401,
            "invalid_client",
        ),
    ],
)
async def test_each_fault_has_its_error(
    http: httpx.AsyncClient, parameters: dict[str, Any], status: int, error: str
) -> None:
    assert_refused(await ask(http, **parameters), status, error)


async def test_a_client_id_that_is_not_the_assertions_is_refused(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    answer = await ask(
        http,
        grant_type="client_credentials",
        client_assertion_type=ASSERTION,
        client_assertion=assertion(stack),
        client_id="order-service",
    )

    assert_refused(answer, 401, "invalid_client")


async def test_credentials_in_the_header_are_answered_with_their_own_scheme(
    http: httpx.AsyncClient,
) -> None:
    """RFC 6749 §5.2: "matching the authentication scheme used by the client"."""
    answer = await http.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, auth=("reports", "secret")
    )

    assert_refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"] == 'Basic realm="carnet"'


@pytest.mark.parametrize("secret", ["refresh_token", "client_assertion", "client_secret"])
async def test_a_secret_in_the_address_is_refused(http: httpx.AsyncClient, secret: str) -> None:
    answer = await http.post(
        "/oauth/token", params={secret: "x"}, data={"grant_type": "refresh_token"}
    )

    assert_refused(answer, 400, "invalid_request")


async def test_a_parameter_that_nobody_knows_is_ignored(ada: User) -> None:
    """RFC 6749 §3.2: it "MUST ignore unrecognized request parameters"."""
    answer = await ask(
        ada.http,
        grant_type="refresh_token",
        refresh_token=ada.tokens["refresh_token"],
        resource=["https://one.example", "https://another.example"],
    )

    assert answer.status_code == 200


async def test_a_form_without_end_is_an_invalid_request(http: httpx.AsyncClient) -> None:
    answer = await http.post("/oauth/token", data={f"p{number}": "x" for number in range(1001)})

    assert_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", ""])
async def test_parameters_in_another_form_are_an_invalid_request(
    http: httpx.AsyncClient, content_type: str
) -> None:
    answer = await http.post("/oauth/token", content=b"{}", headers={"Content-Type": content_type})

    assert_refused(answer, 400, "invalid_request")


async def exchange(stack: Stack, http: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    """A token of the service `partner` for a carnet, by an assertion of its own."""
    key = stack.seal_key(PARTNER)

    def proof() -> dict[str, str]:
        made = assertion(stack, client_id=PARTNER, key=key)
        return {"client_assertion_type": ASSERTION, "client_assertion": made}

    own = await ask(http, grant_type="client_credentials", **proof())
    asked = {
        "grant_type": EXCHANGE,
        "subject_token": own.json()["access_token"],
        "subject_token_type": ACCESS_TOKEN_TYPE,
        "audience": "order-service",
        **proof(),
        **changed,
    }
    return await ask(http, **{name: value for name, value in asked.items() if value is not None})


async def test_a_service_exchanges_its_token_for_a_carnet(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    """RFC 8693: which is no bearer token, and says so."""
    answer = await exchange(stack, http)

    carnet = answer.json()
    claims = parse_claims(parse_token(carnet["access_token"]), CarnetClaims)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert carnet["token_type"] == "N_A"
    assert carnet["issued_token_type"] == JWT_TYPE
    assert (claims.sub, claims.aud) == ("service:partner", "order-service")
    bearer = {"Authorization": f"Bearer {carnet['access_token']}"}
    assert (await http.get("/v1/orders", headers=bearer)).status_code == 401


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"audience": "api-gateway"}, 400, "invalid_target"),
        ({"audience": None}, 400, "invalid_request"),
        ({"scope": "orders:write"}, 400, "invalid_scope"),
        ({"subject_token": "x"}, 400, "invalid_request"),
        ({"subject_token_type": None}, 400, "invalid_request"),
        ({"subject_token_type": JWT_TYPE}, 400, "invalid_request"),
        ({"requested_token_type": ACCESS_TOKEN_TYPE}, 400, "invalid_request"),
        ({"actor_token": "x"}, 400, "invalid_request"),
        ({"client_assertion": None, "client_assertion_type": None}, 401, "invalid_client"),
        ({"client_assertion": None, "client_id": CLI}, 401, "invalid_client"),
    ],
    ids=str,
)
async def test_an_exchange_gives_no_more_than_the_statement_does(
    stack: Stack, http: httpx.AsyncClient, changed: dict[str, Any], status: int, error: str
) -> None:
    assert_refused(await exchange(stack, http, **changed), status, error)


async def test_a_service_exchanges_no_token_of_a_users(
    stack: Stack, http: httpx.AsyncClient, ada: User
) -> None:
    """An access token is for the gateway, and not for who comes by it."""
    answer = await exchange(stack, http, subject_token=ada.tokens["access_token"])

    assert_refused(answer, 400, "invalid_request")
