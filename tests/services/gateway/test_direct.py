"""The direct way to an order is FastAPI's, only shorter: what one answers, the other one does."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final, cast

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from services.contracts.topology import GATEWAY
from services.gateway import service
from services.gateway.app import create_app
from services.gateway.direct import DirectWay
from services.gateway.parts import GatewayParts
from services.web import problems
from services.web.problems import ProblemError
from tests.services.gateway.stack import PATIENCE, TEA, Stack, User

SENT: Final = {"Content-Type": "application/json", "Idempotency-Key": "both-ways"}
GOOD: Final = json.dumps(TEA).encode()
LINE: Final[dict[str, Any]] = {"sku": "tea-earl-grey", "quantity": 2, "unit_price": "4.20"}


def _body(**changed: Any) -> bytes:
    return json.dumps({**TEA, **changed}).encode()


BODIES: Final[dict[str, bytes]] = {
    "good": GOOD,
    "another one under the key": _body(currency="USD"),
    "a price that is a number": _body(lines=[{**LINE, "unit_price": 4.20}]),
    "a price with an exponent": _body(lines=[{**LINE, "unit_price": 1e3}]),
    "a price that is an integer": _body(lines=[{**LINE, "unit_price": 4}]),
    "a name twice, the last one good": GOOD.replace(b"{", b'{"currency": 1, ', 1),
    "UTF-16": json.dumps(TEA).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "none": b"",
    "null": b"null",
    "a list": b"[]",
    "a string": b'"lines"',
    "no JSON": b"{",
    "not UTF-8": b'{"currency": "\xff"}',
    "too deep": b"[" * 60_000,
    "a number of 5000 digits": b"1" * 5000,
    "not a number": GOOD.replace(b"2", b"NaN", 1),
    "no lines": _body(lines=[]),
    "a wrong quantity": _body(lines=[{**LINE, "quantity": "2"}]),
    "a member too many": _body(total="1"),
    "two faults": _body(lines=[], currency="euro"),
    "too large": _body(lines=[{**LINE, "sku": "s" * 64}] * 1000),
}
HEADERS: Final[dict[str, dict[str, str]]] = {
    "a parameter": {"Content-Type": "Application/JSON; charset=utf-8"},
    "another type": {"Content-Type": "text/plain"},
    "a type like it": {"Content-Type": "application/vnd.api+json"},
    "an empty type": {"Content-Type": ""},
    "an empty key": {"Idempotency-Key": ""},
    "a key with a space": {"Idempotency-Key": "a b"},
    "a key of 255": {"Idempotency-Key": "k" * 255},
    "a key of 256": {"Idempotency-Key": "k" * 256},
    "a mark": {"Carnet-Journey": f"{'x' * 22}.first"},
    "a mark of another form": {"Carnet-Journey": "first"},
    "an empty mark": {"Carnet-Journey": ""},
    "no token": {"Authorization": ""},
    "a bad token": {"Authorization": "Bearer x"},
    "another scheme": {"Authorization": "Basic YTpi"},
}


@pytest_asyncio.fixture(scope="module")
async def long_way(stack: Stack) -> AsyncIterator[str]:
    """Where a gateway answers that has no direct way, on the same broker and database."""

    def create(parts: GatewayParts) -> FastAPI:
        app = create_app(parts)
        kept = [each for each in app.user_middleware if cast("object", each.cls) is not DirectWay]
        assert len(kept) == len(app.user_middleware) - 1
        app.user_middleware = kept
        return app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "create_app", create)
        async with stack.another_gateway(stack.amqp_url(GATEWAY)) as gateway:
            yield gateway.url


async def both(
    user: User, long_way: str, body: bytes, headers: list[tuple[str, str]], query: str = ""
) -> tuple[httpx.Response, httpx.Response]:
    one, other = [
        await user.http.post(f"{url}/v1/orders{query}", content=body, headers=headers)
        for url in (long_way, str(user.http.base_url).rstrip("/"))
    ]
    return one, other


def assert_same(one: httpx.Response, other: httpx.Response) -> None:
    assert one.status_code == other.status_code
    assert _said(one) == _said(other)
    assert _headers(one) == _headers(other)


def _said(answer: httpx.Response) -> dict[str, Any]:
    said: dict[str, Any] = answer.json()
    said.pop("instance", None)
    return said


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_is_answered_alike(anyone: User, long_way: str, body: str) -> None:
    await anyone.place(key=SENT["Idempotency-Key"])

    assert_same(*await both(anyone, long_way, BODIES[body], list(SENT.items())))


@pytest.mark.parametrize("changed", HEADERS)
async def test_a_header_is_answered_alike(anyone: User, long_way: str, changed: str) -> None:
    headers = {**SENT, **HEADERS[changed]}

    assert_same(*await both(anyone, long_way, GOOD, list(headers.items())))


@pytest.mark.parametrize("name", ["Content-Type", "Idempotency-Key", "Authorization"])
async def test_a_header_that_is_sent_twice_is_answered_alike(
    anyone: User, long_way: str, name: str
) -> None:
    authorization = ("Authorization", anyone.http.headers["Authorization"])
    twice = [*SENT.items(), authorization, (name, "application/json")]

    assert_same(*await both(anyone, long_way, GOOD, twice))


@pytest.mark.parametrize("query", ["?", "?a=b", "?access_token=x", "?access_token="])
async def test_a_query_is_answered_alike(anyone: User, long_way: str, query: str) -> None:
    assert_same(*await both(anyone, long_way, GOOD, list(SENT.items()), query))


async def test_a_body_in_pieces_goes_either_way(anyone: User) -> None:
    """What was read on the direct way is there for FastAPI too."""

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    answers = [
        await anyone.http.post(
            "/v1/orders",
            content=pieces(body),
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE,
        )
        for body in (GOOD, _body(currency="euro"))
    ]

    assert [answer.status_code for answer in answers] == [202, 422]
    assert answers[1].json()["errors"][0]["pointer"] == "#/currency"


async def test_a_body_that_its_client_has_not_ended_is_not_taken() -> None:
    """Though what has come of it be an order. FastAPI sees each message that has come, once."""
    sent: list[Message] = [
        {"type": "http.request", "body": GOOD, "more_body": True},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]
    left = iter(sent)
    seen: list[Message] = []

    async def receive() -> Message:
        return next(left)

    async def send(_message: Message) -> None:
        raise AssertionError("there is nobody to answer")

    async def take(_request: Request, _body: bytes) -> Response | None:
        raise AssertionError("it is not whole")

    async def fastapi(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.extend([await receive() for _ in sent])

    scope = {"type": "http", "method": "POST", "path": "/v1/orders", "headers": []}
    await DirectWay(fastapi, routes={("POST", "/v1/orders"): take})(scope, receive, send)

    assert seen == sent


async def test_a_body_that_the_edge_refuses_is_refused_within_all_other_middleware() -> None:
    """So the answer has the headers by which a page of a named origin may read it."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise ProblemError(problems.BODY_TOO_LARGE, "It is.")

    async def send(message: Message) -> None:
        sent.append(message)

    async def never(*_: object) -> Response | None:
        raise AssertionError("there is nothing to take")

    async def fastapi(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("there is nothing to pass on")

    scope = {"type": "http", "method": "POST", "path": "/v1/orders", "headers": []}
    await DirectWay(fastapi, routes={("POST", "/v1/orders"): never})(scope, receive, send)

    assert sent[0]["status"] == problems.BODY_TOO_LARGE.status
