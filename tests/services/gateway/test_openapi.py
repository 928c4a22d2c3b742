"""The OpenAPI document is valid, and says what the routes really answer."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.contracts.scopes import TOKENS_INTROSPECT
from services.contracts.topology import GATEWAY
from services.interface.files import openapi
from tests.services.gateway.browser import Page, Pkce, add_client, asked
from tests.services.gateway.stack import PASSWORD, TEA, Stack, User, sign_in

ID = "7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11"
BROKEN = {"content": b"{", "headers": {"Content-Type": "application/json"}}
LARGE = {"content": b"x" * 70_000, "headers": {"Content-Type": "application/json"}}
TEXT = {"content": b"x", "headers": {"Content-Type": "text/plain"}}
IN_QUERY = {"params": {"access_token": "x"}}

OF_FAULTS = {"408", "429", "500", "502", "503"}
"""Answers to faults and to haste: `test_faults` and `test_limits` bring them about."""


@dataclass(frozen=True)
class Case:
    """A request, and the status that it is answered with."""

    operation: str
    status: int
    request: dict[str, Any] = field(default_factory=dict)
    order_id: str = ID
    scoped: bool = True
    anonymous: bool = False
    operator: bool = False
    form: bool = False
    """Whether it comes from a page of ours."""

    def __str__(self) -> str:
        return f"{self.operation}-{self.status}"


FORMED = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}
CLI = "app:carnet-cli"
AUTHORIZE = asked(Pkce())
CREDENTIALS = {"name": "the-documented-one", "password": PASSWORD}
CASES = [
    Case("register", 201, {"json": CREDENTIALS}),
    Case("register", 409, {"json": CREDENTIALS}),
    Case("register", 400, BROKEN),
    Case("register", 413, LARGE),
    Case("register", 415, TEXT),
    Case("register", 422, {"json": {}}),
    Case("signIn", 201, {"json": CREDENTIALS}),
    Case("signIn", 401, {"json": {"name": "nobody", "password": "x"}}),
    Case("signIn", 400, BROKEN),
    Case("signIn", 413, LARGE),
    Case("signIn", 415, TEXT),
    Case("signIn", 422, {"json": {}}),
    Case("signOut", 204),
    Case("signOut", 400, IN_QUERY),
    Case("signOut", 401, anonymous=True),
    Case("token", 400, {"data": {"grant_type": "password"}}, anonymous=True),
    Case("token", 401, {"data": {"grant_type": "client_credentials"}}, anonymous=True),
    Case("token", 413, {"content": b"x" * 70_000}, anonymous=True),
    Case("revoke", 200, {"data": {"token": "unknown"}}, anonymous=True),
    Case("revoke", 400, {"data": {}}, anonymous=True),
    Case("revoke", 401, {"data": {"token": "x", "client_secret": "y"}}, anonymous=True),
    Case("revoke", 413, {"content": b"x" * 70_000}, anonymous=True),
    Case("authorize", 200, {"params": AUTHORIZE}, anonymous=True),
    Case("authorize", 303, {"params": {**AUTHORIZE, "scope": "none"}}, anonymous=True),
    Case("authorize", 400, anonymous=True),
    Case("authorizeSignIn", 400, {"data": {}}, anonymous=True),
    Case("authorizeSignIn", 413, {"content": b"x" * 70_000, **FORMED}, anonymous=True),
    Case("deviceAuthorization", 200, {"data": {"client_id": CLI}}, anonymous=True),
    Case("deviceAuthorization", 400, {"data": {}}, anonymous=True),
    Case("deviceAuthorization", 401, {"data": {"client_id": "app:none"}}, anonymous=True),
    Case("deviceAuthorization", 413, {"content": b"x" * 70_000}, anonymous=True),
    Case("device", 200, anonymous=True),
    Case("deviceSignIn", 400, {"data": {}}, anonymous=True),
    Case("deviceSignIn", 403, {"data": {"user_code": "none"}}, anonymous=True, form=True),
    Case("deviceSignIn", 413, {"content": b"x" * 70_000, **FORMED}, anonymous=True),
    Case("currentSession", 200),
    Case("currentSession", 400, IN_QUERY),
    Case("currentSession", 401, anonymous=True),
    Case("introspect", 200, {"data": {"token": "unknown"}}, operator=True),
    Case("introspect", 400, {"data": {}}, operator=True),
    Case("introspect", 401, {"data": {"token": "unknown"}}, anonymous=True),
    Case("introspect", 403, {"data": {"token": "unknown"}}),
    Case("introspect", 413, {"content": b"x" * 70_000}, operator=True),
    Case("placeOrder", 202, {"json": TEA}),
    Case("placeOrder", 400, BROKEN),
    Case("placeOrder", 401, {"json": TEA}, anonymous=True),
    Case("placeOrder", 403, {"json": TEA}, scoped=False),
    Case("placeOrder", 413, LARGE),
    Case("placeOrder", 415, TEXT),
    Case("placeOrder", 422, {"json": {}}),
    Case("cancelOrder", 202),
    Case("cancelOrder", 400, IN_QUERY),
    Case("cancelOrder", 401, anonymous=True),
    Case("cancelOrder", 403, scoped=False),
    Case("cancelOrder", 422, order_id="none"),
    Case("listOrders", 200),
    Case("listOrders", 400, IN_QUERY),
    Case("listOrders", 401, anonymous=True),
    Case("listOrders", 403, {"params": {"everyone": True}}),
    Case("listOrders", 422, {"params": {"limit": 0}}),
    Case("getOrder", 200, order_id=""),
    Case("getOrder", 400, IN_QUERY),
    Case("getOrder", 401, anonymous=True),
    Case("getOrder", 403, scoped=False),
    Case("getOrder", 404),
    Case("getOrder", 422, order_id="none"),
    Case("orderEvents", 400, IN_QUERY),
    Case("orderEvents", 401, anonymous=True),
    Case("orderEvents", 403, scoped=False),
    Case("orderEvents", 422, {"params": {"last_event_id": "x"}}),
    Case("journeys", 400, IN_QUERY),
    Case("journeys", 401, anonymous=True),
    Case("journeys", 403, scoped=False),
    Case("jwks", 200),
    Case("metadata", 200),
    Case("live", 200),
    Case("ready", 200),
]
ELSEWHERE = {
    ("orderEvents", "200"),
    ("journeys", "200"),
    ("token", "200"),
    ("authorizeSignIn", "303"),
    ("authorizeSignIn", "403"),
    ("deviceSignIn", "200"),
}
"""Streams, tokens and signing in have tests of their own."""


@pytest_asyncio.fixture
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/openapi.json")
    loaded: dict[str, Any] = answer.json()
    return loaded


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    OAS31Validator({**schema, "components": document["components"]}).validate(value)


async def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


async def test_the_committed_document_is_what_is_answered(document: dict[str, Any]) -> None:
    assert document == openapi()


async def test_every_operation_is_named_and_tagged_and_explained(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    names = []
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        assert set(operation["tags"]) <= tags
        assert "500" in operation["responses"]
        names.append(operation["operationId"])
    assert len(names) == len(set(names))


async def test_what_needs_a_token_says_so(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    flow = document["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    for _, path, operation in operations(document):
        needs_token = "token_in_query" in str(operation["responses"])
        is_optional = {} in operation.get("security", [])
        assert ("security" in operation) == (needs_token or is_optional), path
        assert is_optional == (path == "/oauth/introspect")
        for requirement in operation.get("security", []):
            for scopes in requirement.values():
                assert set(scopes) <= flow["scopes"].keys()


async def test_every_answer_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                examples = [e["value"] for e in content.get("examples", {}).values()]
                examples += [content["example"]] if "example" in content else []
                assert examples, (path, status, media_type)
                for example in examples:
                    check(document, content["schema"], example)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_routes_answer_as_documented(
    stack: Stack, anyone: User, document: dict[str, Any], case: Case
) -> None:
    await add_client(stack)
    method, path, operation = next(
        found for found in operations(document) if found[2]["operationId"] == case.operation
    )
    order_id = case.order_id or (await anyone.place()).json()["id"]
    if not case.order_id:
        await anyone.order(order_id)
    if not case.scoped:
        anyone.http.headers.update(with_scopes(stack, anyone, frozenset()))

    if case.operation == "signOut":
        await sign_in(anyone.http, anyone.name)  # a session that nobody else has
    if case.operator:
        anyone.http.headers.update(with_scopes(stack, anyone, frozenset({TOKENS_INTROSPECT})))
    if case.anonymous:
        del anyone.http.headers["Authorization"]

    request = case.request
    if case.form:
        page = Page.of(await anyone.http.get(path))
        request = {"data": {**page.fields, **request["data"]}}
    answer = await anyone.http.request(method, path.format(order_id=order_id), **request)

    assert answer.status_code == case.status, answer.text
    documented = operation["responses"][str(case.status)]
    for name in documented.get("headers", {}):
        assert name in answer.headers
    if "content" not in documented:
        assert answer.content == b""
        return
    media_type = answer.headers["content-type"].removesuffix("; charset=utf-8")
    content = documented["content"][media_type]
    check(document, content["schema"], answer.text if "html" in media_type else answer.json())
    if answer.headers["content-type"] == "application/problem+json":
        assert answer.json()["code"] in content["examples"]


async def test_no_answer_is_documented_that_is_not_given(document: dict[str, Any]) -> None:
    documented = {
        (operation["operationId"], status)
        for _, _, operation in operations(document)
        for status in operation["responses"].keys() - OF_FAULTS
    }

    assert documented - ELSEWHERE == {(case.operation, str(case.status)) for case in CASES}


def with_scopes(stack: Stack, user: User, scopes: frozenset[str]) -> dict[str, str]:
    token = stack.issuer.access_token(
        subject=user.sub,
        audience=GATEWAY,
        client_id=user.claims.client_id,
        scopes=scopes,
        session=user.claims.sid,
        epoch=user.claims.epoch,
        auth_time=None,
        now=time.time(),
    )
    return {"Authorization": f"Bearer {token}"}
