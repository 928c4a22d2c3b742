"""Settling a delivery: acknowledged only once the broker holds what takes its place."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, assert_never

import structlog

from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.errors import BrokerUnavailableError, PublishError
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.pause import Backoff
from messaging.publisher import Publisher
from messaging.republish import copy_of
from messaging.topology import DEAD, RETRY, WorkQueue

REASON: Final = "carnet-reason"
DETAIL: Final = "carnet-detail"
FAILED_AT: Final = "carnet-failed-at"
QUEUE: Final = "carnet-queue"
SERVICE: Final = "carnet-service"

MAX_DETAIL: Final = 500

DEADLINE: Final = 10.0
"""Seconds for the broker to confirm a copy."""

log = structlog.get_logger(__name__)


class Settlement:
    """Settles the deliveries of one work queue, in one service's name."""

    def __init__(
        self, publisher: Publisher, queue: WorkQueue, service: str, clock: Callable[[], float]
    ) -> None:
        self._publisher = publisher
        self._queue = queue
        self._service = service
        self._clock = clock

    async def settle(self, delivery: Delivery, outcome: Outcome, shutdown: asyncio.Event) -> None:
        """Settle, or leave it unsettled on `shutdown` or the loss of the channel.

        A crash between the copy's confirm and the acknowledgement leaves a second copy, never
        none: readers of dead letters fold them by message id.
        """
        match outcome:
            case Ack():
                await delivery.ack()
            case Retry():
                copy = copy_of(delivery, RETRY, outcome.queue.name, {})
                await self._move(delivery, copy, shutdown)
            case DeadLetter():
                await self._move(delivery, self._dead(delivery, outcome), shutdown)
            case _:
                assert_never(outcome)

    def _dead(self, delivery: Delivery, outcome: DeadLetter) -> Envelope:
        failed_at = datetime.fromtimestamp(int(self._clock()), UTC)
        notes = {
            REASON: outcome.code,
            DETAIL: outcome.detail[:MAX_DETAIL],
            FAILED_AT: failed_at.isoformat().replace("+00:00", "Z"),
            QUEUE: delivery.registration.queue,
            SERVICE: self._service,
        }
        return copy_of(delivery, DEAD, self._queue.dead, notes)

    async def _move(self, delivery: Delivery, copy: Envelope, shutdown: asyncio.Event) -> None:
        backoff = Backoff()
        while delivery.live:
            try:
                await self._publisher.publish(copy, deadline=DEADLINE)
            except (BrokerUnavailableError, PublishError) as error:
                log.warning("copy_not_published", code=error.code, detail=error.detail)
                if await backoff.pause(shutdown, delivery.registration.lost):
                    return
            else:
                await delivery.ack()
