"""Spans told to an OpenTelemetry collector (OTLP over HTTP), in batches, from a thread of its own.

Imported only where it is turned on: the library takes 8 MiB and half a second. What it heeds of
the environment is its own: `OTEL_EXPORTER_OTLP_…`, `OTEL_TRACES_SAMPLER…`, `OTEL_BSP_…`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`.
"""

import atexit
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from messaging.tracing import CURRENT, Attributes, Headers, Kind, Span

KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}

LONGEST: Final = 256
"""Characters of an attribute's value: none of ours needs as many."""

FLUSH: Final = 3.0
"""Seconds for the last spans to be sent."""

_W3C: Final = TraceContextTextMapPropagator()
_NANO: Final = 1_000_000_000


class OtlpSpan:
    """A step, as `messaging.tracing.Span`."""

    __slots__ = ("_headers", "_span")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        if self._headers is None:
            self._headers = {}
            _W3C.inject(self._headers, self.context)
        return self._headers

    @property
    def recording(self) -> bool:
        return self._span.is_recording()

    @property
    def ids(self) -> tuple[str, str]:
        told = self._span.get_span_context()
        return trace.format_trace_id(told.trace_id), trace.format_span_id(told.span_id)

    @property
    def context(self) -> Context:
        """What OpenTelemetry calls so: this step, as the parent of others."""
        return trace.set_span_in_context(self._span, Context())

    def note(self, name: str, value: str | int) -> None:
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, code: str) -> None:
        self._span.set_attribute("error.type", code)
        self._span.set_status(StatusCode.ERROR, code)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Also for who uses OpenTelemetry's own functions."""
        before = CURRENT.set(self)
        try:
            with trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
                yield
        finally:
            CURRENT.reset(before)

    def end(self, *, at: float | None = None) -> None:
        self._span.end(None if at is None else int(at * _NANO))


class OtlpTracing:
    """Who is told of spans, as `messaging.tracing.Tracing`."""

    on = True

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("carnet", version("carnet"))

    def begin(
        self,
        name: str,
        kind: Kind,
        *,
        parent: Span | Headers | None = None,
        attributes: Attributes | None = None,
        at: float | None = None,
    ) -> OtlpSpan:
        span = self._tracer.start_span(
            name,
            context=_context(CURRENT.get() if parent is None else parent),
            kind=KINDS[kind],
            attributes=attributes,
            start_time=None if at is None else int(at * _NANO),
        )
        return OtlpSpan(span)


def _context(parent: Span | Headers | None) -> Context:
    if isinstance(parent, OtlpSpan):
        return parent.context
    return _W3C.extract(parent, Context()) if isinstance(parent, Mapping) else Context()


def open_tracing(service: str, *, name_is_set: bool) -> OtlpTracing:
    """Tell the collector that the environment names, until the process ends.

    name_is_set: whether the environment says what the service is called there.
    """
    attributes: dict[str, str] = {
        "service.namespace": "carnet",
        "service.version": version("carnet"),
        "service.instance.id": str(uuid.uuid4()),
    }
    if not name_is_set:
        attributes["service.name"] = service
    provider = TracerProvider(
        resource=Resource.create(attributes),
        span_limits=SpanLimits(max_attribute_length=LONGEST),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _flush_at_exit(provider)
    return OtlpTracing(provider)


def _flush_at_exit(provider: TracerProvider) -> None:
    """Send what is left when the process ends, but keep it waiting for `FLUSH` at most.

    The library tries for 20 s and more where nobody answers. The thread is made now, since none can
    be once the process is on its way out.
    """
    ending, flushed = threading.Event(), threading.Event()

    def flush() -> None:
        ending.wait()
        provider.shutdown()
        flushed.set()

    threading.Thread(target=flush, name="last spans", daemon=True).start()

    def end() -> None:
        ending.set()
        flushed.wait(FLUSH)

    atexit.register(end)
