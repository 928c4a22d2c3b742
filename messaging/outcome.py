"""What becomes of a delivery. A handler returns or raises; only the consumer settles."""

from dataclasses import dataclass

from messaging.topology import RetryQueue


@dataclass(frozen=True, slots=True)
class Ack:
    """It is done with, now or before."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It comes back after a wait in `queue`."""

    queue: RetryQueue


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """It is refused: kept for an operator, with its reason."""

    code: str
    detail: str


Outcome = Ack | Retry | DeadLetter
