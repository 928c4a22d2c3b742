"""What a relying party tells of its trust: how fresh it is, and how late revocations come."""

from collections.abc import Callable
from typing import Final

from auth.feed import Feed
from auth.statements import Revocation, RevocationClaims
from messaging.metrics import Metrics

LAG: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Bounds of buckets for how late revocations come: they are told in whole seconds."""


class TrustTelemetry:
    """Of one feed."""

    def __init__(
        self,
        metrics: Metrics,
        feed: Feed,
        *,
        fresh: Callable[[], bool],
        clock: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        """`fresh`: whether anything may be judged now."""
        self._feed = feed
        self._clock = clock
        self._ticks = ticks
        self._statements = metrics.counter(
            "carnet_trust_statements_total",
            "Statements of the issuer: heard, asked for, or the code of their refusal.",
            labels=("result",),
        )
        self._lag = metrics.histogram(
            "carnet_revocation_lag_seconds",
            "Time from a revocation until it is in force here; told in whole seconds.",
            bounds=LAG,
        ).of()
        gauges: dict[tuple[str, str], Callable[[], float | None]] = {
            ("carnet_trust_fresh", "Whether anything may be judged: 1, or else 0."): fresh,
            (
                "carnet_trust_silence_seconds",
                "Time since the issuer's last heartbeat counted; none before the first.",
            ): self._silence,
            ("carnet_trust_revocations", "Revocations that are in force."): self._revocations,
            (
                "carnet_key_set_version",
                "Version of the key set statement that is held.",
            ): lambda: feed.key_set.version,
            (
                "carnet_key_set_expiry_timestamp_seconds",
                "When the key set statement that is held expires, since the epoch.",
            ): lambda: feed.key_set.expires_at,
        }
        for (name, text), read in gauges.items():
            metrics.gauge(name, text).of().follow(read)
        feed.on_revoked(self._note_lag)

    def count(self, result: str) -> None:
        """What became of a statement, or that some were asked for."""
        self._statements.of(result).add()

    def _note_lag(self, revoked: Revocation) -> None:
        if isinstance(revoked, RevocationClaims):  # told by itself, as soon as it was made
            self._lag.observe(self._clock() - revoked.iat)

    def _silence(self) -> float | None:
        heard_at = self._feed.heard_at
        return None if heard_at is None else self._ticks() - heard_at

    def _revocations(self) -> float:
        return len(self._feed.revocations)
