"""A service's two addresses over HTTP, asked by a client that we did not write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from messaging.metrics import Metrics
from services.errors import PortTakenError
from services.health import MAX_HEAD, HealthServer
from services.local.ports import LOOPBACK

WITHIN = 10.0


@asynccontextmanager
async def answering(
    checks: dict[str, bool] | None = None, *, patience: float = WITHIN
) -> AsyncIterator[HealthServer]:
    """A server whose checks give what stands in `checks` when they are made."""
    held = {} if checks is None else checks
    server = HealthServer(
        {name: lambda name=name: held[name] for name in held},  # type: ignore[misc]
        host=LOOPBACK,
        port=0,
        patience=patience,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def asked(server: HealthServer, method: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"http://{LOOPBACK}:{server.port}{path}")


async def said(server: HealthServer, text: bytes) -> bytes:
    """All that is answered to these bytes, until the connection is closed."""
    async with asyncio.timeout(WITHIN):
        reader, writer = await asyncio.open_connection(LOOPBACK, server.port)
        writer.write(text)
        answer = await reader.read()
        writer.close()
        return answer


async def test_it_is_live_whatever_holds() -> None:
    async with answering({"trust": False}) as server:
        answer = await asked(server, "GET", "/health/live")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"status": "live"}


async def test_it_tells_its_metrics_and_with_them_its_checks() -> None:
    held = {"trust": True}
    metrics = Metrics()
    metrics.counter("made_total", "Made up.").of().add()
    server = HealthServer({"trust": lambda: held["trust"]}, metrics=metrics, host=LOOPBACK, port=0)
    await server.start()
    try:
        before = await asked(server, "GET", "/metrics")
        held["trust"] = False
        after = await asked(server, "GET", "/metrics")
        head = await asked(server, "HEAD", "/metrics")
    finally:
        await server.stop()

    assert before.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "made_total 1\n" in before.text
    assert 'carnet_ready{check="trust"} 1\n' in before.text
    assert 'carnet_ready{check="trust"} 0\n' in after.text
    assert (head.status_code, head.text) == (200, "")


async def test_who_has_no_metrics_has_no_such_address() -> None:
    async with answering() as server:
        assert (await asked(server, "GET", "/metrics")).status_code == 404


async def test_a_port_that_is_taken_is_named_by_its_setting() -> None:
    async with answering() as server:
        other = HealthServer({}, host=LOOPBACK, port=server.port, setting="CARNET_METRICS_PORT")
        with pytest.raises(PortTakenError, match="set CARNET_METRICS_PORT to another"):
            await other.start()


async def test_it_is_ready_while_each_check_holds() -> None:
    checks = {"commands": True, "trust": False}
    async with answering(checks) as server:
        before = await asked(server, "GET", "/health/ready")
        checks["trust"] = True
        after = await asked(server, "GET", "/health/ready?why=probe")

    assert (before.status_code, after.status_code) == (503, 200)
    assert before.json() == {"status": "not ready", "checks": {"commands": True, "trust": False}}
    assert after.json() == {"status": "ready", "checks": {"commands": True, "trust": True}}


async def test_a_head_alone_is_answered_without_a_body() -> None:
    async with answering() as server:
        whole, head = (
            await asked(server, "GET", "/health/ready"),
            await asked(server, "HEAD", "/health/ready"),
        )

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"] == "30"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/health", 404),
        ("GET", "/health/ready/", 404),
        ("GET", "/health/../health/ready", 404),
        ("POST", "/health/ready", 405),
        ("DELETE", "/health/live", 405),
    ],
)
async def test_all_else_is_refused(method: str, path: str, status: int) -> None:
    async with answering() as server:
        answer = await said(server, f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"\r\nallow: GET, HEAD\r\n" in answer) == (status == 405)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param(b"\x16\x03\x01\r\n\r\n", 400, id="TLS"),
        pytest.param(b"GET /health/ready\r\n\r\n", 400, id="no version"),
        pytest.param(b"GET /health/ready HTTP/9.9\r\n\r\n", 400, id="another version"),
        pytest.param(b"GET  /health/ready HTTP/1.1\r\n\r\n", 400, id="a blank too many"),
        pytest.param(b"\r\n\r\n", 400, id="nothing"),
        pytest.param(b"GET /health/\xff HTTP/1.1\r\n\r\n", 404, id="an address that is no ASCII"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"x" * MAX_HEAD, 431, id="a head without an end"),
    ],
)
async def test_what_is_no_request_is_refused(text: bytes, status: int) -> None:
    async with answering() as server:
        assert (await said(server, text)).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("text", [b"", b"GET /health/ready HTTP/1.1\r\n"])
async def test_a_client_that_is_too_slow_is_let_go(text: bytes) -> None:
    async with answering(patience=0.05) as server, asyncio.timeout(WITHIN):
        reader, writer = await asyncio.open_connection(LOOPBACK, server.port)
        writer.write(text)
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_leaves_in_between_harms_nobody() -> None:
    async with answering() as server:
        _, writer = await asyncio.open_connection(LOOPBACK, server.port)
        writer.write(b"GET /health/ready HTTP/1.1\r\n")
        writer.transport.abort()

        assert (await asked(server, "GET", "/health/ready")).status_code == 200


async def test_a_stop_waits_for_nobody_who_is_connected() -> None:
    async with answering() as server, asyncio.timeout(WITHIN / 2):
        reader, writer = await asyncio.open_connection(LOOPBACK, server.port)
        writer.write(b"GET /health/ready HTTP/1.1\r\n")
        assert (await asked(server, "GET", "/health/ready")).status_code == 200

        await server.stop()

        assert await reader.read() == b""
        writer.close()


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    async with answering() as server:
        other = HealthServer({}, host=LOOPBACK, port=server.port)

        with pytest.raises(PortTakenError, match=f"cannot listen on {LOOPBACK}:{server.port}"):
            await other.start()
