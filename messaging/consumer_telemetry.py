"""What a consumer of commands tells of its deliveries: how many, how long, and their spans.

process orders.commands          from when it is looked at until it is settled
├── verify                       checks 1 to 12, beside those it is verified with
├── handle orders.place.v1       the handler
└── commit                       the rest of the transaction, beside those it shares it with
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from auth.errors import RefusalError
from messaging.delivery import Delivery
from messaging.envelope import trace_of
from messaging.handlers import CommandHandler
from messaging.handling import Accepted
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.registry import Registry
from messaging.telemetry import Telemetry
from messaging.topology import WorkQueue
from messaging.tracing import BROKER, NO_SPAN, UNKNOWN

VERIFY: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
WAIT: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)

Verdict = Accepted | RefusalError


class ConsumerTelemetry:
    """Of one consumer."""

    def __init__(
        self, telemetry: Telemetry, queue: WorkQueue, handlers: Registry[CommandHandler]
    ) -> None:
        metrics = telemetry.metrics
        self._tracing = telemetry.tracing
        self._queue = queue.name
        self._types = frozenset(handler.contract.route.type for handler in handlers)
        self._messages = metrics.counter(
            "carnet_messages_total",
            "Commands that were settled: done, retried, or dead for a reason.",
            labels=("queue", "type", "outcome", "reason"),
        )
        self._done = {
            each: self._messages.of(self._queue, each, "done", "") for each in self._types
        }
        self._verified = metrics.histogram(
            "carnet_message_verify_seconds",
            "Time to verify and read a command: its share, of those verified at once.",
            bounds=VERIFY,
        ).of()
        self._waited = metrics.histogram(
            "carnet_message_wait_seconds",
            "Time from a genuine command's sealing until it was verified; sealed in whole seconds.",
            bounds=WAIT,
        ).of()
        self._handled = metrics.histogram(
            "carnet_message_handle_seconds",
            "Time of the transaction that handled a command, which many may share.",
        ).of()

    def opened(self, few: Sequence[Delivery], seconds: float) -> None:
        """So long it took to check these up to their signatures, together."""
        began = time.time() - seconds
        for delivery in few:
            delivery.opened_at = began
            delivery.opened_in = seconds / len(few)

    def judged(
        self,
        few: Sequence[Delivery],
        verdicts: Sequence[Verdict],
        seconds: float,
        *,
        now: float,
    ) -> None:
        """So long it took to verify the rest of them, together, and so it ended."""
        self._verified.observe(few[0].opened_in + seconds / len(few), len(few))
        for verdict in verdicts:
            if isinstance(verdict, Accepted):
                self._waited.observe(now - verdict.message.seal.iat)
        if self._tracing.on:
            for delivery, verdict in zip(few, verdicts, strict=True):
                self._begin(delivery, verdict)

    def _begin(self, delivery: Delivery, verdict: Verdict) -> None:
        attributes: dict[str, str | int] = {
            "messaging.system": BROKER,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._queue,
            "messaging.message.body.size": len(delivery.body),
            "carnet.message.type": self._type(delivery),
        }
        genuine = verdict.message if isinstance(verdict, Accepted) else verdict.authenticated
        if genuine is not None:
            attributes["messaging.message.id"] = genuine.seal.jti
            attributes["messaging.client.id"] = genuine.seal.iss
        delivery.span = self._tracing.begin(
            f"process {self._queue}",
            "consumer",
            parent=trace_of(delivery.headers),
            attributes=attributes,
            at=delivery.opened_at,
        )
        if not delivery.span.recording:
            return
        verify = self._tracing.begin(
            "verify", "internal", parent=delivery.span, at=delivery.opened_at
        )
        if isinstance(verdict, RefusalError):
            verify.fail(verdict.code)
        verify.end()

    def handled(self, seconds: float, times: int = 1) -> None:
        """So long a transaction took, which so many share."""
        self._handled.observe(seconds, times)

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """These had their effect, together."""
        deliveries = list(deliveries)
        for each, times in Counter(delivery.type for delivery in deliveries).items():
            self._done[each or ""].add(times)
        if self._tracing.on:
            for delivery in deliveries:
                _end(delivery)

    def settled(self, delivery: Delivery, outcome: Outcome) -> None:
        """This became of one."""
        match outcome:
            case Ack():
                ended, reason = "done", ""
            case Retry():
                ended, reason = "retried", ""
            case DeadLetter():
                ended, reason = "dead", outcome.code
        self._messages.of(self._queue, self._type(delivery), ended, reason).add()
        if self._tracing.on:
            delivery.span.note("carnet.outcome", ended)
            _end(delivery, reason or None)

    def left(self, deliveries: Iterable[Delivery], code: str) -> None:
        """These stay with the broker."""
        if self._tracing.on:
            for delivery in deliveries:
                _end(delivery, code)

    def _type(self, delivery: Delivery) -> str:
        return delivery.type if delivery.type in self._types and delivery.type else UNKNOWN


def _end(delivery: Delivery, code: str | None = None) -> None:
    span, delivery.span = delivery.span, NO_SPAN
    if code is not None:
        span.fail(code)
    span.end()
