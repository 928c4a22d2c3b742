"""What a publisher tells of what it sends: what became of it, after how long, and its spans."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from messaging.envelope import Envelope, trace_of
from messaging.errors import MessagingError
from messaging.telemetry import Telemetry
from messaging.topology import DEAD, RETRY
from messaging.tracing import BROKER, CURRENT, Span

CUT_SHORT: Final = "cut_short"
"""How a span ends whose message nobody waited for to the end."""

_COPIES: Final = frozenset({RETRY.name, DEAD.name})


class Sending:
    """Messages on their way to the broker, together."""

    def __init__(self, telemetry: "PublisherTelemetry", envelopes: Sequence[Envelope]) -> None:
        """`envelopes`: with the headers of the steps that they are, where anybody traces."""
        self._telemetry = telemetry
        self._began = time.perf_counter()
        self.envelopes = envelopes
        self._spans: dict[int, Span] = {}
        if telemetry.tracing.on:
            self.envelopes = [self._step(*each) for each in enumerate(envelopes)]

    def _step(self, place: int, envelope: Envelope) -> Envelope:
        """As a step of the trace it belongs to, which whoever receives the message continues.

        No request and no reply: those of calls are. Nor a copy, which keeps the headers it came
        with; nor what belongs to no trace, as heartbeats.
        """
        parent = trace_of(envelope.headers) or CURRENT.get()
        if not parent or not envelope.persistent or envelope.route.exchange in _COPIES:
            return envelope
        exchange, key = envelope.route.exchange, envelope.route.routing_key
        attributes: dict[str, str | int] = {
            "messaging.system": BROKER,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": f"{exchange}:{key}",
            "messaging.rabbitmq.destination.routing_key": key,
            "messaging.message.body.size": len(envelope.body),
            "carnet.message.type": envelope.route.type,
        }
        span = self._telemetry.tracing.begin(
            f"send {exchange}:{key}", "producer", parent=parent, attributes=attributes
        )
        self._spans[place] = span
        return replace(envelope, headers={**envelope.headers, **span.headers})

    def ended(self, failures: Sequence[MessagingError | None]) -> None:
        """For each: why it failed, or None."""
        self._telemetry.count(failures, time.perf_counter() - self._began)
        for place, span in self._spans.items():
            if (failure := failures[place]) is not None:
                span.fail(failure.code)
            span.end()
        self._spans.clear()

    def cut_short(self) -> None:
        """Nobody waits for them any more. Does nothing once they have ended."""
        for span in self._spans.values():
            span.fail(CUT_SHORT)
            span.end()


class PublisherTelemetry:
    """Of one publisher."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.tracing = telemetry.tracing
        self._published = telemetry.metrics.counter(
            "carnet_published_total",
            "Messages that the broker has confirmed, or why they were not, or may not have been.",
            labels=("result",),
        )
        self._confirmed = self._published.of("confirmed")
        self._seconds = telemetry.metrics.histogram(
            "carnet_publish_seconds", "Time until the broker confirmed a message."
        ).of()

    def sending(self, envelopes: Sequence[Envelope]) -> Sending:
        """These leave now."""
        return Sending(self, envelopes)

    def count(self, failures: Sequence[MessagingError | None], seconds: float) -> None:
        """What became of messages that left together, after so long."""
        confirmed = failures.count(None)
        self._confirmed.add(confirmed)
        self._seconds.observe(seconds, confirmed)
        for failure in failures:
            if failure is not None:
                self._published.of(failure.code).add()
