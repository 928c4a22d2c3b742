"""Serves an ASGI app over HTTP inside a process that has its own idea of when to stop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from services.errors import PortTakenError

BACKLOG: Final = 2048
KEEP_ALIVE: Final = 65
"""Seconds for the next request on a connection; more than the 60 s of common proxies."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield


class HttpServer:
    """One listening socket and the server behind it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        drain: float,
        protocol: type[asyncio.Protocol] | Literal["httptools"] = "httptools",
    ) -> None:
        """`drain`: seconds for requests in flight to end once `stop` is called.

        port: 0 takes any that is free; `port` then says which.
        """
        self._config = uvicorn.Config(
            app,
            loop="none",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, int(drain)),
            timeout_keep_alive=KEEP_ALIVE,
            backlog=BACKLOG,
        )
        self._server = _Server(self._config)
        self._host, self.port = host, port
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            PortTakenError: the address cannot be bound.
        """
        listener = _bind(self._host, self.port)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")

    async def stop(self) -> None:
        """Take no more requests, finish those in flight, close."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"cannot listen on {host}:{port}: {error.strerror}; set CARNET_PORT to another port"
        ) from error
    listener.setblocking(False)
    return listener


def health_app(
    checks: Mapping[str, Callable[[], bool]], *, routes: Sequence[Route] = ()
) -> Starlette:
    """`/health/live`: the process turns. `/health/ready`: each check holds, now.

    Ready answers 200 or 503, with every check's name and verdict.

    routes: what else there is to be asked by other services.
    """

    async def live(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "live"})

    async def ready(_request: Request) -> JSONResponse:
        verdicts = {name: check() for name, check in checks.items()}
        holds = all(verdicts.values())
        return JSONResponse(
            {"status": "ready" if holds else "not ready", "checks": verdicts},
            status_code=200 if holds else 503,
        )

    health = [Route("/health/live", live), Route("/health/ready", ready)]
    return Starlette(routes=[*health, *routes])
