"""Bytes that no honest client sends, on the running gateway: refused, and it serves on."""

import asyncio

import pytest

from services.contracts.topology import GATEWAY
from services.web import connection
from tests.services.gateway.stack import Stack, User
from tests.services.gateway.test_limits import CHUNKED, Connection, connected

SMUGGLED = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    head = (b"POST /v1/sessions HTTP/1.1", b"host: x", b"content-type: application/json", *fields)
    return b"\r\n".join([*head, b"", body])


MALFORMED = {
    "two ways to tell the length": post(
        b"content-length: 5", b"transfer-encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED
    ),
    "two lengths": post(b"content-length: 2", b"content-length: 40", body=b"{}" + SMUGGLED),
    "a length that is a list": post(b"content-length: 2, 2", body=b"{}" + SMUGGLED),
    "a negative length": post(b"content-length: -1", body=SMUGGLED),
    "a length with a sign": post(b"content-length: +2", body=b"{}"),
    "a length in words": post(b"content-length: two", body=b"{}"),
    "a length beyond all numbers": post(b"content-length: " + b"9" * 400, body=b"{}"),
    "an unknown coding after chunked": post(
        b"transfer-encoding: chunked, x", body=b"0\r\n\r\n" + SMUGGLED
    ),
    "a chunk whose size is no number": post(
        b"transfer-encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"
    ),
    "a chunk of negative size": post(b"transfer-encoding: chunked", body=b"-1\r\n{}\r\n0\r\n\r\n"),
    "a field name with a blank": b"GET /health/live HTTP/1.1\r\nhost : x\r\n\r\n",
    "a field with a NUL": b"GET /health/live HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
    "an address with a NUL": b"GET /health\x00/live HTTP/1.1\r\nhost: x\r\n\r\n",
    "another protocol version": b"GET /health/live HTTP/9.9\r\nhost: x\r\n\r\n",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no protocol at all": b"GET\r\n\r\n",
    "TLS where none is": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


async def answers(client: Connection) -> list[int]:
    """The status of each answer on a connection that the other side closes."""
    return [
        int(line.split()[1])
        for line in (await client.closed()).split(b"\r\n")
        if line.startswith(b"HTTP/1.1 ")
    ]


@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_not_http_is_one_400_and_the_end_of_the_connection(
    stack: Stack, case: str
) -> None:
    """One: what follows it is never taken for a request of its own."""
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(MALFORMED[case])

        assert await answers(client) == [400]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"TRACE /v1/orders", 405),
        (b"OPTIONS /v1/orders", 405),
        (b"PROPFIND /v1/orders", 405),
        (b"CONNECT x:443", 400),
        (b"OPTIONS *", 404),
        (b"GET /v1/orders/%00%ff", 401),
        (b"GET /v1/../v1/orders", 404),
        (b"GET /\xff", 400),
    ],
)
async def test_what_nobody_serves_is_refused(stack: Stack, line: bytes, status: int) -> None:
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(line + b" HTTP/1.1\r\nhost: x\r\n\r\n")

        answered, headers, problem = await client.answer()

    assert (answered, problem["status"]) == (status, status)
    assert headers["x-content-type-options"] == "nosniff"


async def test_nobody_speaks_another_protocol_here(stack: Stack) -> None:
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(
            b"GET /v1/orders/events HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n"
            b"upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n"
        )

        status, _, problem = await client.answer()

    assert (status, problem["code"]) == (401, "missing_token")


async def test_a_head_over_the_limit_is_answered_with_431(stack: Stack) -> None:
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(b"GET /v1/orders HTTP/1.1\r\nx: " + b"a" * 20_000 + b"\r\n\r\n")

        status, _, problem = await client.answer()

    assert (status, problem["code"]) == (431, "headers_too_large")


async def test_a_body_over_the_limit_is_answered_with_413(stack: Stack) -> None:
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(post(b"content-length: 10000000", body=b"{"))

        status, _, problem = await client.answer()

    assert (status, problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("opening", "piece"),
    [(b"", b"x: " + b"a" * 60_000 + b"\r\n"), (b"x: ", b"a" * 60_000)],
    ids=["ever more of them", "one without end"],
)
async def test_trailers_fill_no_memory(stack: Stack, opening: bytes, piece: bytes) -> None:
    """Nobody reads them any more: the request they belong to is answered."""
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(b"GET /health/live" + CHUNKED)
        assert (await client.answer())[0] == 200
        await client.send(b"0\r\n" + opening)

        with pytest.raises(ConnectionError):
            await client.flood(piece)


async def test_a_client_that_never_ends_its_request_is_let_go(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REST_DEADLINE", 0.5)
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(b"GET /health/live" + CHUNKED)
        assert (await client.answer())[0] == 200
        await client.send(b"1\r\na\r\n")

        assert await client.closed() == b""


@pytest.mark.parametrize(
    "sent", [b"", b"GET /v1/orders HTTP/1.1\r\nx:"], ids=["nothing", "a head without end"]
)
async def test_a_client_that_sends_slower_than_anybody_is_let_go(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_DEADLINE", 0.2)
    async with connected(stack.ports[GATEWAY]) as client:
        await client.send(sent)

        assert await client.closed() == b""


async def test_two_hundred_clients_that_send_nothing_keep_nobody_out(
    stack: Stack, anyone: User
) -> None:
    async with asyncio.TaskGroup() as idle:
        served = asyncio.Event()
        waiting = asyncio.Semaphore(0)

        async def hold() -> None:
            async with connected(stack.ports[GATEWAY]) as client:
                await client.send(b"POST /v1/orders HTTP/1.1\r\n")
                waiting.release()
                await served.wait()

        for _ in range(200):
            idle.create_task(hold())
        for _ in range(200):
            await waiting.acquire()
        answer = await anyone.http.get("/v1/orders")
        served.set()

    assert answer.status_code == 200
