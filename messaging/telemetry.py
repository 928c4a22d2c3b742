"""What one process tells of itself: numbers (`messaging.metrics`), traces (`messaging.tracing`)."""

from dataclasses import dataclass, field

from auth.verifier import Verifier
from messaging.metrics import Metrics
from messaging.tracing import OFF, Tracing


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Given to the `Broker` of a process, where all that runs on it finds it.

    Numbers are always counted, whether anybody asks or not; nobody is told of spans by default.
    """

    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = OFF
    share: float | None = None
    """Of the traces that begin here, how many are told of, from 0 to 1; None where nobody is."""

    def watch(self, verifier: Verifier) -> None:
        """Tell how often the one verifier of the process knew a token already."""
        family = self.metrics.counted(
            "carnet_known_tokens_total",
            "Carnets and access tokens to verify that were known (hit), or were not (miss).",
            labels=("result",),
        )
        family.of("hit").follow(lambda: verifier.known.recalled)
        family.of("miss").follow(lambda: verifier.known.missed)
