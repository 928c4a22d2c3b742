"""Answers three addresses over HTTP, for a service that is asked nothing else that way.

`/health/live`: the process turns. `/health/ready`: each check holds, now; 200 or 503, with every
check's name and verdict. `/metrics`: what the process counts, for Prometheus. A web framework and
its server would take 5 MiB for it.

One request for each connection, which is then closed (RFC 9112 §9.6); of it, the request line is
read, and no body.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from messaging.metrics import Metrics
from services.listener import BACKLOG, listen
from services.telemetry.exposition import CONTENT_TYPE, PATH, exposition
from services.telemetry.process import watch_checks

Checks = Mapping[str, Callable[[], bool]]

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
PATIENCE: Final = 10.0
"""Seconds for a request to arrive, and for its answer to be taken."""
MAX_HEAD: Final = 16 * 1024
"""Bytes of request line and header fields together."""

_END: Final = b"\r\n\r\n"
_PARTS: Final = 3


def live() -> tuple[HTTPStatus, dict[str, Any]]:
    """What `/health/live` says."""
    return HTTPStatus.OK, {"status": "live"}


def readiness(checks: Checks) -> tuple[HTTPStatus, dict[str, Any]]:
    """What `/health/ready` says: each check is made now."""
    verdicts = {name: check() for name, check in checks.items()}
    if all(verdicts.values()):
        return HTTPStatus.OK, {"status": "ready", "checks": verdicts}
    return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "checks": verdicts}


class HealthServer:
    """One listening socket, and who answers there."""

    def __init__(
        self,
        checks: Checks,
        *,
        metrics: Metrics | None = None,
        host: str,
        port: int,
        setting: str = "CARNET_PORT",
        patience: float = PATIENCE,
    ) -> None:
        """Nothing is bound before `start`.

        metrics: told at `/metrics`, and with them the checks; without any, there is no such
            address.
        port: 0 takes any that is free; the attribute then says which.
        setting: where it stands.
        """
        if metrics is not None:
            watch_checks(metrics, checks)
        self._checks = checks
        self._metrics = metrics
        self._host, self.port = host, port
        self._setting = setting
        self._patience = patience
        self._server: asyncio.Server | None = None
        self._asked: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            PortTakenError: the address cannot be bound.
        """
        listener = listen(self._host, self.port, setting=self._setting)
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(
            self._serve, sock=listener, limit=MAX_HEAD, backlog=BACKLOG
        )

    async def stop(self) -> None:
        """Take no more requests and let go of who is connected."""
        if self._server is None:
            return
        self._server.close()
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)
        try:
            async with asyncio.timeout(self._patience):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(_END)
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        line = head.partition(b"\r\n")[0].split(b" ")
        if len(line) != _PARTS or not line[2].startswith(b"HTTP/1."):  # RFC 9112 §3
            return _response(HTTPStatus.BAD_REQUEST)
        method, path = line[0], line[1].partition(b"?")[0].decode("latin-1")
        if path not in {LIVE, READY} and not (path == PATH and self._metrics):
            return _response(HTTPStatus.NOT_FOUND)
        if method not in {b"GET", b"HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "allow: GET, HEAD\r\n")
        body = method == b"GET"
        if path == PATH and self._metrics:
            text = (await exposition(self._metrics)).encode()
            return _response(HTTPStatus.OK, text=text, content_type=CONTENT_TYPE, body=body)
        status, said = live() if path == LIVE else readiness(self._checks)
        return _response(status, text=_json(said), body=body)


def _json(said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def _response(
    status: HTTPStatus,
    fields: str = "",
    *,
    text: bytes | None = None,
    content_type: str = "application/json",
    body: bool = True,
) -> bytes:
    text = _json({"status": status.phrase}) if text is None else text
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n{fields}content-type: {content_type}\r\n"
        f"content-length: {len(text)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (text if body else b"")
