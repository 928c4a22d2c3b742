"""Serves an ASGI app over HTTP inside a process that has its own idea of when to stop."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from messaging.metrics import Metrics
from services.health import LIVE, READY, Checks, live, readiness
from services.listener import BACKLOG, listen
from services.telemetry.exposition import CONTENT_TYPE, PATH, exposition
from services.telemetry.process import watch_checks

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
        listener = listen(self._host, self.port)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")

    async def stop(self) -> None:
        """Take no more requests, finish those in flight, close."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task


def health_app(
    checks: Checks, *, metrics: Metrics | None = None, routes: Sequence[Route] = ()
) -> Starlette:
    """The addresses of `services.health`, beside what other services ask for at `routes`."""

    async def say_live(_request: Request) -> JSONResponse:
        status, said = live()
        return JSONResponse(said, status_code=status)

    async def say_ready(_request: Request) -> JSONResponse:
        status, said = readiness(checks)
        return JSONResponse(said, status_code=status)

    own = [Route(LIVE, say_live), Route(READY, say_ready)]
    if metrics is not None:
        watch_checks(metrics, checks)
        own.append(metrics_route(metrics))
    return Starlette(routes=[*own, *routes])


def metrics_route(metrics: Metrics) -> Route:
    """`/metrics`, as Prometheus asks for it."""

    async def say_metrics(_request: Request) -> Response:
        return Response(await exposition(metrics), headers={"content-type": CONTENT_TYPE})

    return Route(PATH, say_metrics)
