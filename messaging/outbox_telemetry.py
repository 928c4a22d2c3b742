"""What an outbox tells: how much waits in it and for how long, and what became of the rest."""

from collections.abc import Callable

from sqlalchemy import Table

from messaging.database import Database
from messaging.metrics import Metrics
from messaging.outbox import COUNTED, Waiting, waiting


class OutboxTelemetry:
    """Of one relay."""

    def __init__(
        self, metrics: Metrics, database: Database, outbox: Table, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._waiting = Waiting()
        messages = metrics.counter(
            "carnet_outbox_messages_total",
            "Messages of the outbox: published, or held back after they could not be.",
            labels=("result",),
        )
        self.published = messages.of("published")
        self.held_back = messages.of("held_back")
        metrics.gauge(
            "carnet_outbox_backlog",
            f"Messages that wait in the outbox; {COUNTED} stands for as many or more.",
        ).of().follow(lambda: self._waiting.messages)
        metrics.gauge(
            "carnet_outbox_oldest_seconds", "Time that the oldest message of the outbox has waited."
        ).of().follow(lambda: self._waiting.seconds)
        metrics.before(self._count)

    async def _count(self) -> None:
        self._waiting = Waiting()  # not known, should the database not answer
        async with self._database.session() as session:
            self._waiting = await waiting(session, self._outbox, now=self._clock())
