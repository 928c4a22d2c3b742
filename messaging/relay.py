"""The outbox relay: publishes what the outbox holds, at least once, sealed as it leaves."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import Table

from auth.seal import Sealer
from messaging.database import Database
from messaging.envelope import Envelope
from messaging.errors import (
    BrokerUnavailableError,
    DatabaseUnavailableError,
    PublishError,
    UnroutableError,
)
from messaging.outbox import OutgoingEvent, next_events, remove_events
from messaging.pause import Backoff, first_of
from messaging.publisher import Publisher

BATCH: Final = 100
POLL: Final = 1.0
"""Seconds between looks at the outbox when nobody wakes the relay: another process may write."""

DEADLINE: Final = 10.0
"""Seconds for the broker to confirm one event."""

EVENT_LIFE: Final = timedelta(days=1)
"""How long after it was published an event may still be believed."""

log = structlog.get_logger(__name__)


class OutboxRelay:
    """Publishes events in the order in which they were written.

    An event whose confirm or removal got lost is published again under the same message id.
    With several replicas on PostgreSQL each event is with one of them at a time.
    """

    def __init__(
        self,
        *,
        database: Database,
        outbox: Table,
        publisher: Publisher,
        sealer: Sealer,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._publisher = publisher
        self._sealer = sealer
        self._clock = clock
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was committed: look now."""
        self._woken.set()

    async def run(self, shutdown: asyncio.Event) -> None:
        """Publish until `shutdown` and what has been committed by then; the rest stays stored.

        So set it when nothing commits any more. With no broker it does not wait for one.
        """
        backoff = Backoff()
        while True:
            last = shutdown.is_set()
            self._woken.clear()
            try:
                published = await self._publish_batch()
            except (DatabaseUnavailableError, BrokerUnavailableError, PublishError) as error:
                log.warning("outbox_waits", code=error.code, detail=error.detail)
                if last:
                    return
                await backoff.pause(shutdown)
                continue
            backoff.reset()
            if published == BATCH:
                continue
            if last:
                return
            await first_of(self._woken, shutdown, timeout=POLL)

    async def _publish_batch(self) -> int:
        if self._database.url.get_backend_name() == "sqlite":
            # One process, and one writer at a time: no lock is held while the broker is asked.
            async with self._database.session() as session:
                events = await next_events(session, self._outbox, BATCH)
            published, failure = await self._publish(events)
            if published:
                async with self._database.transaction() as session:
                    await remove_events(session, self._outbox, published)
        else:
            async with self._database.transaction() as session:
                events = await next_events(session, self._outbox, BATCH)
                published, failure = await self._publish(events)
                await remove_events(session, self._outbox, published)
        if failure is not None:
            raise failure
        return len(published)

    async def _publish(
        self, events: Sequence[OutgoingEvent]
    ) -> tuple[list[OutgoingEvent], Exception | None]:
        """All at once, in their order on the wire; those that were taken, and a failure."""
        results = await asyncio.gather(
            *(self._publish_one(event) for event in events), return_exceptions=True
        )
        failure: Exception | None = None
        published = []
        for event, result in zip(events, results, strict=True):
            if result is None:
                published.append(event)
            elif isinstance(result, (BrokerUnavailableError, PublishError)):
                failure = result
            else:
                raise result
        return published, failure

    async def _publish_one(self, event: OutgoingEvent) -> None:
        now = self._clock()
        seal = self._sealer.event(
            route=event.route,
            message_id=event.message_id,
            body=event.body,
            subject=event.subject,
            cause=event.cause,
            now=now,
            expires_at=now + EVENT_LIFE.total_seconds(),
        )
        envelope = Envelope.sealed(
            event.route, event.body, seal=seal, carnet=None, trace=event.trace
        )
        try:
            await self._publisher.publish(envelope, deadline=DEADLINE)
        except UnroutableError as error:
            # Nobody listens just now, which is no fault of an event's.
            log.debug("event_unheard", type=event.route.type, detail=error.detail)
