"""The very outermost layer of the app: counts and times requests, and begins or continues traces.

By route and status: of what a client made up, neither address nor method becomes a label, and no
address an attribute, since somebody may have put a token there.
"""

import time
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from messaging.envelope import TRACE_HEADERS, trace_of
from messaging.telemetry import Telemetry
from messaging.tracing import step

METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)
OTHER: Final = "_OTHER"
"""Any other method (OpenTelemetry's semantic conventions for HTTP)."""

NO_ROUTE: Final = ""
SERVER_FAULT: Final = 500
METHOD_NOT_ALLOWED: Final = 405

MAX_SERIES: Final = 2000
"""Of requests: more than there are routes with each of their statuses."""

BOUNDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
"""Those of OpenTelemetry's semantic conventions."""

ROUTE: Final = "carnet.route"
"""Where in the scope a middleware names the route that it has answered for."""


class Observed:
    """ASGI middleware, outside all others."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._tracing = telemetry.tracing
        self._active = 0
        self._durations = telemetry.metrics.histogram(
            "http_server_request_duration_seconds",
            "Time until the answer to a request began; a stream goes on after that.",
            labels=("http_request_method", "http_route", "http_response_status_code"),
            bounds=BOUNDS,
            most=MAX_SERIES,
        )
        telemetry.metrics.gauge(
            "http_server_active_requests", "Requests, and open streams, at this moment."
        ).of().follow(lambda: self._active)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._active += 1
        try:
            await (self._traced if self._tracing.on else self._timed)(scope, receive, send)
        finally:
            self._active -= 1

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Serve the request; its status, 0 if it was never answered."""
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                seconds = time.perf_counter() - began
                self._durations.of(*_labels(scope, status)).observe(seconds)
            await send(message)

        await self._app(scope, receive, sending)
        return status

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = _method(scope)
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with step(
            self._tracing,
            method,
            "server",
            parent=_trace_of(scope["headers"]),
            attributes=attributes,
        ) as span:
            try:
                status = await self._timed(scope, receive, send)
            finally:
                if route := _route(scope):
                    span.rename(f"{method} {route}")
                    span.note("http.route", route)
            if status:
                span.note("http.response.status_code", status)
            if status >= SERVER_FAULT:
                span.fail(str(status))


def _labels(scope: Scope, status: int) -> tuple[str, str, str]:
    """Method, route and status; a method that no route has, a stranger may try on each."""
    if status == METHOD_NOT_ALLOWED:
        return OTHER, NO_ROUTE, str(status)
    return _method(scope), _route(scope), str(status)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else OTHER


def _route(scope: Scope) -> str:
    """The route's template, as `/v1/orders/{order_id}`; nothing where none fits."""
    return str(scope.get(ROUTE) or getattr(scope.get("route"), "path", NO_ROUTE))


def _trace_of(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The trace that the client's request belongs to; none where it names two (W3C §3.2)."""
    found: dict[str, object] = {}
    for name, value in headers:
        text = name.decode("latin-1")
        if text in TRACE_HEADERS:
            found[text] = None if text in found else value.decode("latin-1")
    return trace_of(found)
