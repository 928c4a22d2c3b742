"""What a consumer of commands runs on; a service's `__main__` makes it, a test makes others."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from auth.errors import RefusalError
from auth.message import VerifiedMessage
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.database import Database
from messaging.journeys import Journeys
from messaging.onward import OnwardCarnets
from messaging.pruning import INTERVAL
from messaging.publisher import Publisher
from messaging.signatures import CheckedHere, Signatures
from messaging.tables import MessagingTables
from messaging.unit_of_work import UnitOfWork

PREFETCH: Final = 1_000
CONCURRENCY: Final = 16
DRAIN: Final = 20.0
TIME_LIMIT: Final = 60.0

RefusalHook = Callable[[RefusalError, VerifiedMessage, Any], Awaitable[None]]
"""Writes what a service has to say about a refusal, with its own unit of work."""


@dataclass(frozen=True, slots=True)
class ConsumerParts:
    """What a consumer runs on.

    service: our client id, noted on dead letters.
    unit_of_work: the class that handlers receive.
    on_refused: writes what the service has to say about a refused, genuine command.
    committed: called after each commit; wakes the outbox relay.
    queues: to consume from, where it is not all shards of the work queue.
    left: likewise, for as long as they are there: shards that the work queue had once.
    prefetch: deliveries that the broker hands over ahead, of all queues together. Of those of one
        queue, half may be commands that wait for an issuer that is away.
    concurrency: handlers at once, beside the transaction that many share, and half as many that act
        for their callers.
    drain: seconds for running handlers to finish at shutdown.
    time_limit: seconds for one handler; then it is undone and tried later.
    signatures: who checks them.
    onward: who gives carnets for handlers that act in their callers' names.
    journeys: told of each outcome, for messages that are marked; nobody, by default.
    pruning: seconds between two rounds of pruning, on average.
    """

    broker: Broker
    publisher: Publisher
    verifier: Verifier
    database: Database
    tables: MessagingTables
    unit_of_work: type[UnitOfWork]
    on_refused: RefusalHook
    committed: Callable[[], None]
    clock: Callable[[], float]
    service: str
    queues: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    prefetch: int = PREFETCH
    concurrency: int = CONCURRENCY
    drain: float = DRAIN
    time_limit: float = TIME_LIMIT
    pruning: float = INTERVAL
    signatures: Signatures = field(default_factory=CheckedHere)
    onward: OnwardCarnets | None = None
    journeys: Journeys | None = None
