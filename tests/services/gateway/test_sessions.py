"""Register, sign in, sign out, over HTTP."""

import httpx
import pytest

from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PASSWORD, PATIENCE, TEA, Stack, User, sign_in


async def test_a_new_user_registers_and_signs_in(http: httpx.AsyncClient) -> None:
    credentials = {"name": "grace.hopper", "password": PASSWORD}

    registered = await http.post("/v1/users", json=credentials)
    signed_in = await http.post("/v1/sessions", json=credentials)

    assert registered.status_code == 201
    assert registered.json().keys() == {"sub", "name", "roles"}
    assert signed_in.status_code == 201
    assert signed_in.headers["location"] == "/v1/sessions/current"
    assert signed_in.headers["cache-control"] == "no-store"
    tokens = signed_in.json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 900
    assert tokens["scope"] == "orders:read orders:write"
    assert tokens["refresh_token"]


async def test_a_name_is_taken_once(ada: User) -> None:
    answer = await ada.http.post("/v1/users", json={"name": ada.name, "password": PASSWORD})

    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


async def test_a_wrong_password_and_an_unknown_name_are_told_alike(ada: User) -> None:
    wrong = await ada.http.post("/v1/sessions", json={"name": ada.name, "password": "wrong"})
    unknown = await ada.http.post("/v1/sessions", json={"name": "nobody", "password": "wrong"})

    for answer in (wrong, unknown):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    without_instance = [{**a.json(), "instance": ""} for a in (wrong, unknown)]
    assert without_instance[0] == without_instance[1]
    assert without_instance[0]["code"] == "invalid_credentials"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "Ada Lovelace", "password": PASSWORD}, "#/name"),
        ({"name": "ada", "password": "too short"}, "#/password"),
        ({"name": "ada", "password": "p" * 257}, "#/password"),
        ({"name": "ada"}, "#/password"),
        ({"name": "ada", "password": PASSWORD, "roles": ["operator"]}, "#/roles"),
    ],
)
async def test_an_invalid_registration_names_the_place_and_quotes_nothing(
    http: httpx.AsyncClient, body: dict[str, object], pointer: str
) -> None:
    answer = await http.post("/v1/users", json=body)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert str(body.get("password")) not in answer.text


async def test_who_signs_out_has_no_session_left(ada: User) -> None:
    assert (await ada.place()).status_code == 202

    signed_out = await ada.http.delete("/v1/sessions/current")
    placed = await ada.place()
    del ada.http.headers["Authorization"]
    grant = {"grant_type": "refresh_token", "refresh_token": ada.tokens["refresh_token"]}
    refreshed = await ada.http.post("/oauth/token", data=grant)

    assert (signed_out.status_code, signed_out.content) == (204, b"")
    assert (placed.status_code, placed.json()["code"]) == (401, "revoked")
    assert (refreshed.status_code, refreshed.json()["error"]) == (400, "invalid_grant")


async def test_signing_out_ends_one_session_and_no_other(stack: Stack, ada: User) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as elsewhere:
        other = await sign_in(elsewhere, ada.name)

        await ada.http.delete("/v1/sessions/current")

        assert (await other.place()).status_code == 202


def from_there(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def test_the_user_service_learns_where_a_request_comes_from(own_stack: OpenStack) -> None:
    """So that whoever fails too often, or registers too often, is told from the others."""
    stack = await own_stack(
        trusted_proxies="127.0.0.0/8", user_settings={"registrations_per_origin": 1}
    )
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        answers = [
            await http.post(
                "/v1/users",
                json={"name": f"user-{number}", "password": PASSWORD},
                headers=from_there(address),
            )
            for number, address in enumerate(["203.0.113.9", "203.0.113.9", "203.0.113.10"])
        ]

    assert [answer.status_code for answer in answers] == [201, 429, 201]
    assert answers[1].json()["code"] == "too_many_attempts"
    assert 3500 < int(answers[1].headers["retry-after"]) <= 3600


async def test_nobody_is_believed_about_it_by_default(own_stack: OpenStack) -> None:
    stack = await own_stack(user_settings={"registrations_per_origin": 1})
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        answers = [
            await http.post(
                "/v1/users",
                json={"name": f"user-{number}", "password": PASSWORD},
                headers=from_there(f"203.0.113.{number}"),
            )
            for number in (1, 2)
        ]

    assert [answer.status_code for answer in answers] == [201, 429]


@pytest.mark.parametrize("path", ["/v1/users", "/v1/sessions", "/v1/orders"])
@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("text/plain", b'{"name":"ada"}'),
        ("application/x-www-form-urlencoded", b"name=ada"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("", b'{"name":"ada"}'),
    ],
)
async def test_a_body_of_another_type_is_refused(
    anyone: User, path: str, content_type: str, content: bytes
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    answer = await anyone.http.post(path, content=content, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert answer.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b'{"name":"\xff"}', 400),
        (b"[" * 30_000, 400),
        (b"", 422),
        (b"null", 422),
        (b"[]", 422),
        (b'{"name":"\\ud800","password":"secret-of-mine"}', 422),
        (b'{"name":1,"password":"secret-of-mine"}', 422),
        (b'{"name":NaN,"password":"secret-of-mine"}', 422),
    ],
)
async def test_a_body_that_is_no_request_is_a_problem_of_the_client(
    http: httpx.AsyncClient, content: bytes, status: int
) -> None:
    answer = await http.post(
        "/v1/sessions", content=content, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret-of-mine" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "GET"])
async def test_an_unknown_method_names_the_known_ones(http: httpx.AsyncClient, method: str) -> None:
    answer = await http.request(method, "/v1/sessions")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1", "/v1/orders/", "/docs", "/v2/orders"])
async def test_an_unknown_address_is_a_problem_too(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_other_origins_may_not_call_by_default(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/v1/orders", json=TEA, headers={"Origin": "https://elsewhere.example"}
    )

    assert "access-control-allow-origin" not in answer.headers
