"""What the server takes from a client, and for how long: heads, bodies, time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from services import http
from services.http import HttpServer
from services.web import connection
from services.web.connection import MAX_HEAD, MAX_REST, BoundedHttpProtocol
from services.web.edge import MAX_BODY, Edge
from services.web.handlers import install_handlers

PATIENCE = 10
SLOW = 1.5
CHUNKED = b" HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


async def _size(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body())})


async def _names(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"names": request.headers.keys()})


async def _unread(_request: Request) -> JSONResponse:
    return JSONResponse({})


async def _slow(_request: Request) -> JSONResponse:
    await asyncio.sleep(SLOW)
    return JSONResponse({})


async def _endless(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)  # where it can be cancelled
        finally:
            request.app.state.ended.set()

    request.app.state.ended = asyncio.Event()
    request.app.state.began.set()
    return StreamingResponse(pieces())


async def _ticks(_request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"tick"
            await asyncio.sleep(0.01)

    return StreamingResponse(pieces())


async def _broken(_request: Request) -> JSONResponse:
    raise LookupError("what it says is for the log alone")


def app(*, secure: bool = False, receive_deadline: float = 5) -> FastAPI:
    """Routes that do what the limits are there for, behind the gateway's own edge."""
    made = FastAPI(
        routes=[
            Route("/size", _size, methods=["GET", "POST"]),
            Route("/names", _names, methods=["POST"]),
            Route("/unread", _unread),
            Route("/slow", _slow),
            Route("/endless", _endless),
            Route("/ticks", _ticks),
            Route("/broken", _broken),
        ]
    )
    made.add_middleware(Edge, secure=secure, receive_deadline=receive_deadline)
    install_handlers(made)
    made.state.began = asyncio.Event()
    return made


@asynccontextmanager
async def serving(made: FastAPI) -> AsyncIterator[int]:
    server = HttpServer(made, host="127.0.0.1", port=0, drain=1, protocol=BoundedHttpProtocol)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    async with serving(app()) as number:
        yield number


class Connection:
    """A client that sends any bytes and reads one answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def flood(self, piece: bytes) -> None:
        """Send until the other side has had enough; give up after 64 MiB."""
        for _ in range(1024):
            await self.send(piece)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        async with asyncio.timeout(PATIENCE):
            start, *fields = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = {
                name.lower(): value.strip()
                for name, _, value in (field.partition(":") for field in fields if field)
            }
            body = await self._reader.readexactly(int(headers["content-length"]))
            return int(start.split()[1]), headers, json.loads(body)

    async def continued(self) -> None:
        """Wait until the server wants the body, and so has the head."""
        async with asyncio.timeout(PATIENCE):
            assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")

    async def closed(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def test_a_head_within_the_limit_is_served(port: int) -> None:
    async with connected(port) as client:
        await client.send(
            b"GET /size HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 16_000 + b"\r\n\r\n"
        )

        status, _, body = await client.answer()

    assert (status, body) == (200, {"size": 0})


@pytest.mark.parametrize(
    "fields",
    [
        b"x-long: " + b"a" * MAX_HEAD,
        b"\r\n".join(b"x-%d: a" % number for number in range(3_000)),
    ],
    ids=["one long field", "many fields"],
)
async def test_a_head_over_the_limit_is_answered_with_431(port: int, fields: bytes) -> None:
    async with connected(port) as client:
        await client.send(b"GET /size HTTP/1.1\r\nhost: x\r\n" + fields + b"\r\n\r\n")

        status, headers, problem = await client.answer()
        rest = await client.closed()

    assert (status, problem["code"], rest) == (431, "headers_too_large", b"")
    assert headers["content-type"] == "application/problem+json"


async def test_a_long_address_counts_as_part_of_the_head(port: int) -> None:
    async with connected(port) as client:
        await client.send(b"GET /size?" + b"a" * MAX_HEAD + b" HTTP/1.1\r\nhost: x\r\n\r\n")

        status, _, problem = await client.answer()

    assert (status, problem["code"]) == (431, "headers_too_large")


async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(port: int) -> None:
    async with connected(port) as client:
        await client.send(b"GET /size HTTP/1.1\r\nhost: x\r\nx-long: ")
        with pytest.raises(ConnectionError):
            await client.flood(b"a" * 65536)


async def test_a_second_head_on_one_connection_has_the_same_limit(port: int) -> None:
    async with connected(port) as client:
        await client.send(b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 30000\r\n\r\n")
        await client.send(b"b" * 30_000)
        assert (await client.answer())[2] == {"size": 30_000}

        await client.send(b"GET /size HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.answer())[0] == 200

        await client.send(b"GET /size HTTP/1.1\r\nx-long: " + b"a" * MAX_HEAD + b"\r\n\r\n")
        assert (await client.answer())[0] == 431


async def test_what_is_not_http_is_answered_with_a_problem_and_closed(port: int) -> None:
    async with connected(port) as client:
        await client.send(b"\x16\x03\x01 hello\r\n\r\n")

        status, _, problem = await client.answer()
        rest = await client.closed()

    assert (status, problem["code"], rest) == (400, "malformed_request", b"")


@pytest.mark.parametrize(
    "sent", [b"", b"GET /size HTTP/1.1\r\nhost:"], ids=["nothing", "half a head"]
)
async def test_a_connection_on_which_no_head_arrives_is_closed(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_DEADLINE", 0.05)
    async with serving(app()) as port, connected(port) as client:
        await client.send(sent)

        assert await client.closed() == b""


async def test_a_body_within_the_limit_is_taken(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.post("/size", content=b"b" * MAX_BODY)

    assert answer.json() == {"size": MAX_BODY}


async def test_a_body_that_says_it_is_too_large_is_refused_unread(port: int) -> None:
    async with connected(port) as client:
        await client.send(
            b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1)
        )

        status, headers, problem = await client.answer()

    assert (status, problem["code"], headers["connection"]) == (413, "body_too_large", "close")


async def test_a_body_that_turns_out_too_large_is_refused(port: int) -> None:
    async with connected(port) as client:
        await client.send(b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"8000\r\n" + b"b" * 0x8000 + b"\r\n"
        await client.send(piece * 3)

        status, _, problem = await client.answer()

    assert (status, problem["code"]) == (413, "body_too_large")


async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async with serving(app(receive_deadline=0.05)) as port, connected(port) as client:
        await client.send(b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")

        status, _, problem = await client.answer()
        rest = await client.closed()

    assert (status, problem["code"], rest) == (408, "request_timeout", b"")


async def test_a_body_within_the_limit_is_taken_however_small_its_chunks(port: int) -> None:
    async with connected(port) as client:
        await client.send(b"POST /size" + CHUNKED)
        await client.send(b"1\r\nb\r\n" * MAX_BODY)
        await client.send(b"0\r\nx-checksum: " + b"a" * 1000 + b"\r\n\r\n")

        assert (await client.answer())[2] == {"size": MAX_BODY}


@pytest.mark.parametrize("path", [b"POST /size", b"GET /unread"])
@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"0\r\n", b"x: " + b"a" * 8000 + b"\r\n"),
        (b"0\r\nx: ", b"a" * 8000),
        (b"1;", b"a" * 8000),
        (b"", b"1\r\nb\r\n" * 1000),
    ],
    ids=["trailers", "one trailer", "a chunk extension", "chunks"],
)
async def test_what_follows_a_head_without_end_is_cut_off(
    port: int, path: bytes, opening: bytes, piece: bytes
) -> None:
    async with connected(port) as client:
        await client.send(path + CHUNKED + opening)
        if path.startswith(b"GET"):
            assert (await client.answer())[0] == 200

        with pytest.raises(ConnectionError):
            await client.flood(piece)


async def test_a_message_that_is_too_large_but_for_its_body_is_answered_with_413(port: int) -> None:
    """And no failure of ours is logged: the request is the client's who sent no end of it."""
    async with connected(port) as client:
        await client.send(b"POST /size HTTP/1.1\r\nexpect: 100-continue" + CHUNKED[9:])
        await client.continued()
        with capture_logs() as logs:
            await client.send(b"0\r\nx: " + b"a" * MAX_REST)
            status, _, problem = await client.answer()
            await client.closed()

    assert (status, problem["code"]) == (413, "body_too_large")
    assert logs == []


async def test_a_trailer_is_a_header_neither_of_its_request_nor_of_the_next_one(port: int) -> None:
    async with connected(port) as client:
        for _ in range(2):
            await client.send(b"POST /names" + CHUNKED + b"0\r\nx-late: 1\r\n")
            await client.send(b"authorization: Bearer x\r\n\r\n")

            assert (await client.answer())[2] == {"names": ["host", "transfer-encoding"]}


@pytest.mark.parametrize(
    "request_line", [b"GET /unread", b"POST /size"], ids=["answered", "not answered"]
)
async def test_a_request_that_does_not_end_is_let_go(
    request_line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REST_DEADLINE", 0.2)
    async with serving(app()) as port, connected(port) as client:
        await client.send(request_line + CHUNKED)
        await client.send(b"1\r\na\r\n")

        status, _, _ = await client.answer()
        assert status == (200 if b"GET" in request_line else 408)
        assert await client.closed() == b""


async def test_a_request_that_waits_for_an_earlier_answer_is_not_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "REST_DEADLINE", SLOW / 1.5)
    async with serving(app()) as port, connected(port) as client:
        await client.send(
            b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
            b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nha"
        )
        assert (await client.answer())[2] == {}
        await client.send(b"lf")

        assert (await client.answer())[2] == {"size": 4}


async def test_an_answer_may_take_as_long_as_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REST_DEADLINE", 0.05)
    async with serving(app()) as port, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/ticks")

    assert answer.text == "tick" * 20


@pytest.mark.parametrize(
    ("request_head", "later"),
    [
        (b"GET /unread HTTP/1.1\r\nhost: x\r\n\r\n", b"\r\n"),
        (b"GET /unread" + CHUNKED, b"0\r\n\r\n"),
    ],
    ids=["an empty line", "the end of the request"],
)
async def test_a_connection_that_is_used_no_more_is_closed_whatever_came_last(
    request_head: bytes, later: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "KEEP_ALIVE", 0.3)
    async with serving(app()) as port, connected(port) as client:
        await client.send(request_head)
        assert (await client.answer())[0] == 200
        await client.send(later)

        assert await client.closed() == b""


async def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_DEADLINE", 0.05)
    made = app()
    async with serving(made) as port, connected(port) as client, asyncio.timeout(PATIENCE):
        await client.send(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        await made.state.began.wait()

        await made.state.ended.wait()


async def test_what_nobody_foresaw_is_logged_and_says_nothing(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        with capture_logs() as logs:
            answer = await client.get("/broken")

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "internal_error")
    assert "for the log alone" not in answer.text
    assert [entry["instance"] for entry in logs if entry["log_level"] == "error"] == [
        problem["instance"]
    ]


@pytest.mark.parametrize("path", ["/size", "/nowhere", "/broken"])
async def test_every_answer_has_the_security_headers(port: int, path: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        headers = (await client.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers


async def test_clients_that_come_by_https_are_told_to_stay_there() -> None:
    async with (
        serving(app(secure=True)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        answer = await client.get("/size")

    assert "max-age=" in answer.headers["strict-transport-security"]
