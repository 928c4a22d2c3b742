"""How long a stream may tell its user anything: as long as the token counts that opened it."""

from collections.abc import Callable
from dataclasses import dataclass

from auth.errors import RefusalError
from services.gateway.live import EndReason, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingStream:
    """What all streams have in common. Times are in seconds.

    expires_at: when the access token ends, and the stream with it.
    heartbeat: between two signs of life.
    trusted: whether the access token can be said to be accepted, now. While it cannot, nothing is
        told; where it raises a `RefusalError`, the stream ends as one whose session is ended.
    """

    subscription: Subscription
    clock: Callable[[], float]
    expires_at: float
    heartbeat: float
    trusted: Callable[[], bool]

    def _end(self) -> EndReason | None:
        if self.subscription.ended is None and self._left() <= 0:
            return EndReason.TOKEN_EXPIRED
        return self.subscription.ended

    def _trusted(self) -> bool:
        try:
            return self.trusted()
        except RefusalError:
            self.subscription.end(EndReason.SESSION_ENDED)
            return False

    def _left(self) -> float:
        return max(0.0, self.expires_at - self.clock())
