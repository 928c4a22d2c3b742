"""A small OpenTelemetry collector: takes spans over OTLP/HTTP, and keeps them."""

import gzip
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from services.local.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Told:
    """One span, as it was told of."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    collector: "Collector"


class Collector:
    """Listens from `with` to its end; `endpoint` is for `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    def __init__(self) -> None:
        self._spans: list[Told] = []
        self._changed = threading.Condition()
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.collector = self
        self.bodies: list[bytes] = []

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: bytes) -> None:
        spans = list(_spans(ExportTraceServiceRequest.FromString(body)))
        with self._changed:
            self.bodies.append(body)
            self._spans.extend(spans)
            self._changed.notify_all()

    def trace(
        self, trace: str, until: Callable[[Sequence[Told]], bool], *, within: float = 30.0
    ) -> list[Told]:
        """The spans of a trace, once `until` holds for them."""

        def of_it() -> list[Told]:
            return [span for span in self._spans if span.trace == trace]

        with self._changed:
            held = self._changed.wait_for(lambda: until(of_it()), timeout=within)
            assert held, f"only {[(span.service, span.name) for span in of_it()]}"
            return of_it()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        cast("_Server", self.server).collector.take(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
        """Say nothing."""


def _spans(request: ExportTraceServiceRequest) -> Any:
    for told in request.resource_spans:
        service = _attributes(told.resource.attributes)["service.name"]
        for scope in told.scope_spans:
            for span in scope.spans:
                yield Told(
                    service=service,
                    name=span.name,
                    kind=span.kind,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    failed=span.status.code == 2,
                    attributes=_attributes(span.attributes),
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
