"""Pruning: an inbox row is kept for as long as its message can still come, and no longer.

That opens nothing: what comes later is too old to be handled, unless an operator releases it, and
the effect's own table knows its id for ever (`RepeatedError`).
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, cast

import structlog
from sqlalchemy import CursorResult, Table, delete, select, tuple_

from auth.claims import LEEWAY
from auth.policy import Expiry
from messaging.database import Database
from messaging.errors import DatabaseUnavailableError
from messaging.pause import first_of
from messaging.tables import MessagingTables
from messaging.topology import WorkQueue

INTERVAL: Final = 60.0
"""Seconds between two rounds, on average."""

BATCH: Final = 500
"""Rows of one transaction: others write meanwhile."""

_RANDOM: Final = secrets.SystemRandom()

log = structlog.get_logger(__name__)


def retention(rules: Iterable[Expiry], queue: WorkQueue) -> timedelta:
    """How long after a message was handled the same message may come again and be handled.

    A seal counts for `max_age` from its `iat`, which may be ahead of our clock by the leeway,
    and for the leeway after its end. What is taken in that last moment may still go through
    every retry.
    """
    longest = max(rule.max_age for rule in rules)
    waits = sum((retry.delay for retry in queue.retries), timedelta())
    return longest + 2 * timedelta(seconds=LEEWAY) + waits


class Pruner:
    """Removes what is older than `keep` from inbox and retries, a batch at a time."""

    def __init__(
        self,
        database: Database,
        tables: MessagingTables,
        *,
        keep: timedelta,
        clock: Callable[[], float],
        interval: float,
    ) -> None:
        self._database = database
        self._tables = tables
        self._keep = keep.total_seconds()
        self._clock = clock
        self._interval = interval

    async def run(self, shutdown: asyncio.Event) -> None:
        """Prune now and then until `shutdown`; replicas come at different moments."""
        while not await first_of(shutdown, timeout=_RANDOM.uniform(0, 2 * self._interval)):
            try:
                pruned = await self.prune(shutdown)
            except DatabaseUnavailableError as fault:
                log.warning("not_pruned", detail=fault.detail)
            else:
                log.info("pruned", rows=pruned)

    async def prune(self, shutdown: asyncio.Event) -> int:
        """Remove all there is to remove, unless `shutdown` comes first; the number of rows.

        Raises:
            DatabaseUnavailableError
        """
        before = int(self._clock() - self._keep)
        pruned = 0
        for table in (self._tables.inbox, self._tables.retries):
            batch = BATCH
            while batch == BATCH and not shutdown.is_set():
                batch = await self._prune_batch(table, before)
                pruned += batch
        return pruned

    async def _prune_batch(self, table: Table, before: int) -> int:
        """On PostgreSQL rows that another replica is at are left to it."""
        key = tuple_(table.c.iss, table.c.jti)
        old = (
            select(table.c.iss, table.c.jti)
            .where(table.c.at < before)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as session:
            result = await session.execute(delete(table).where(key.in_(old)))
        return cast("CursorResult[Any]", result).rowcount
