"""The outbox relay: publishes what the outbox holds, at least once, sealed as it leaves.

Many aggregates at once, each one's messages one after the other: what follows a message leaves
once the broker has confirmed that one. A message that fails holds back its own aggregate, for
longer each time; a broker that is away holds back everything.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import RefusalError
from auth.seal import Sealer
from messaging.database import Database
from messaging.envelope import Envelope
from messaging.errors import (
    BacklogFullError,
    BrokerUnavailableError,
    CutOffError,
    DatabaseUnavailableError,
    MessagingError,
    UnroutableError,
)
from messaging.outbox import (
    LANE,
    LANES,
    Lane,
    StoredMessage,
    hold_back,
    remove,
    take_lanes,
)
from messaging.outbox_telemetry import OutboxTelemetry
from messaging.pause import Backoff, first_of
from messaging.publisher import Publisher

POLL: Final = 1.0
"""Seconds between looks at the outbox when nobody wakes the relay: another process may write."""

DEADLINE: Final = 5.0
"""Seconds for a carnet, for the broker to confirm one message, and for all of one look."""

LONGEST_HOLD: Final = 30.0
"""Seconds that an aggregate is held back at most, before its oldest message is tried again."""

EVENT_LIFE: Final = timedelta(days=1)
"""How long after it was published an event may still be believed."""

CarnetSource = Callable[[str, frozenset[str]], Awaitable[str]]
"""Gives a carnet of our own for an audience with these scopes.

Raises `MessagingError`, `RefusalError` or `TrustUnavailableError` where there is none to be had."""

_EVERYBODYS: Final = (BrokerUnavailableError, BacklogFullError, CutOffError)
"""What holds back all messages: no fault of the one that it befell."""

_RANDOM: Final = secrets.SystemRandom()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a lane: its messages that are published, and why the next one is not."""

    published: Lane
    held: StoredMessage | None = None
    failure: Exception | None = None

    @property
    def everybodys(self) -> bool:
        """Whether the failure is no fault of this lane's."""
        return isinstance(self.failure, _EVERYBODYS)


class NoCarnetError(MessagingError):
    """A command is to be sent under a carnet, and there is none: no source, no answer, refused."""

    code = "no_carnet"


class OutboxRelay:
    """Publishes messages in the order in which they were written, aggregate by aggregate.

    A message whose confirm or removal got lost is published again under the same message id.
    Replicas on PostgreSQL share the work; each aggregate is with one of them at a time.
    """

    def __init__(
        self,
        *,
        database: Database,
        outbox: Table,
        publisher: Publisher,
        sealer: Sealer,
        clock: Callable[[], float],
        carnets: CarnetSource | None = None,
    ) -> None:
        """`carnets`: for a service whose handlers send commands that need one."""
        self._database = database
        self._outbox = outbox
        self._publisher = publisher
        self._sealer = sealer
        self._clock = clock
        self._carnets = carnets
        self._woken = asyncio.Event()
        self._telemetry = OutboxTelemetry(publisher.telemetry.metrics, database, outbox, clock)

    def wake(self) -> None:
        """Something was committed: look now."""
        self._woken.set()

    async def run(self, shutdown: asyncio.Event) -> None:
        """Publish until `shutdown` and what has been committed by then; the rest stays stored.

        So set it when nothing commits any more. With no broker it does not wait for one.
        """
        async with asyncio.TaskGroup() as running:
            running.create_task(self._relay(shutdown), name="outbox")
            running.create_task(self._relay_failed(shutdown), name="outbox, failed before")

    async def _relay(self, shutdown: asyncio.Event) -> None:
        backoff = Backoff()
        while True:
            last = shutdown.is_set()
            self._woken.clear()
            try:
                more = await self._look(failed_before=False)
            except (DatabaseUnavailableError, *_EVERYBODYS) as error:
                log.warning("outbox_waits", code=error.code, detail=error.detail)
                if last:
                    return
                await backoff.pause(shutdown)
                continue
            backoff.reset()
            if more:
                continue
            if last:
                return
            await first_of(self._woken, shutdown, timeout=POLL)

    async def _relay_failed(self, shutdown: asyncio.Event) -> None:
        """Beside the others, since a message that fails may take its time to."""
        while not await first_of(shutdown, timeout=POLL):
            try:
                while await self._look(failed_before=True) and not shutdown.is_set():
                    pass
            except (DatabaseUnavailableError, *_EVERYBODYS) as error:
                log.warning("outbox_waits", code=error.code, detail=error.detail)

    async def _look(self, *, failed_before: bool) -> bool:
        """Publish some of what there is; whether there may be more.

        Raises:
            DatabaseUnavailableError: nothing is known to be removed.
            BrokerUnavailableError, BacklogFullError, CutOffError: no fault of any message's.
        """
        if self._database.url.get_backend_name() == "sqlite":
            # One process, and one writer at a time: no lock is held while the broker is asked.
            async with self._database.session() as session:
                lanes = await self._take(session, failed_before=failed_before)
            if not lanes:
                return False
            outcomes = await self._publish(lanes)
            async with self._database.transaction() as session:
                await self._write_down(session, outcomes)
        else:
            async with self._database.transaction() as session:
                lanes = await self._take(session, failed_before=failed_before)
                outcomes = await self._publish(lanes)
                await self._write_down(session, outcomes)
        for outcome in outcomes:
            if outcome.failure is not None and outcome.everybodys:
                raise outcome.failure
        taken, published = map(len, lanes), (len(outcome.published) for outcome in outcomes)
        full = len(lanes) >= LANES or any(len(lane) >= LANE for lane in lanes)
        return full or sum(published) < sum(taken)

    async def _take(self, session: AsyncSession, *, failed_before: bool) -> list[Lane]:
        return await take_lanes(
            session, self._outbox, failed_before=failed_before, now=self._clock()
        )

    async def _publish(self, lanes: Sequence[Lane]) -> list[_Outcome]:
        """All lanes together, but for those that a carnet may keep waiting."""
        end = asyncio.get_running_loop().time() + DEADLINE
        together = [lane for lane in lanes if not any(message.scopes for message in lane)]
        alone = [[lane] for lane in lanes if any(message.scopes for message in lane)]
        outcomes = await asyncio.gather(*(self._rounds(few, end) for few in (together, *alone)))
        return [outcome for few in outcomes for outcome in few]

    async def _rounds(self, lanes: Sequence[Lane], end: float) -> list[_Outcome]:
        """The next message of each lane, up to the first that fails, or to the end of the time."""
        outcomes: list[_Outcome] = []
        place = 0
        while lanes:
            if place and asyncio.get_running_loop().time() >= end:
                return outcomes + [_Outcome(lane[:place]) for lane in lanes]
            failures = await self._publish_each([lane[place] for lane in lanes])
            outcomes += (
                _Outcome(lane[:place], lane[place], failure)
                for lane, failure in zip(lanes, failures, strict=True)
                if failure is not None
            )
            going = [lane for lane, failed in zip(lanes, failures, strict=True) if failed is None]
            place += 1
            outcomes += (_Outcome(lane) for lane in going if len(lane) == place)
            lanes = [lane for lane in going if len(lane) > place]
        return outcomes

    async def _publish_each(self, messages: Sequence[StoredMessage]) -> list[Exception | None]:
        """Seal them as of now, and publish them; why each failed, if it did."""
        failures: list[Exception | None] = [None] * len(messages)
        envelopes: dict[int, Envelope] = {}
        for place, message in enumerate(messages):
            try:
                envelopes[place] = await self._sealed(message)
            except Exception as error:  # noqa: BLE001 - a source of carnets may raise anything
                failures[place] = error
        published = await self._publisher.publish_all([*envelopes.values()], deadline=DEADLINE)
        for place, failure in zip(envelopes, published, strict=True):
            if isinstance(failure, UnroutableError) and messages[place].receiver is None:
                # Nobody listens just now, which is no fault of an event's.
                log.debug("event_unheard", type=messages[place].route.type, detail=failure.detail)
            else:
                failures[place] = failure
        return failures

    async def _sealed(self, message: StoredMessage) -> Envelope:
        """As it leaves.

        Raises:
            MessagingError, TrustUnavailableError: as the source of carnets.
            ValueError: what was stored cannot be sealed.
        """
        if message.receiver is None:
            return self._event(message)
        return await self._command(message, message.receiver)

    def _event(self, message: StoredMessage) -> Envelope:
        now = self._clock()
        seal = self._sealer.event(
            route=message.route,
            message_id=message.message_id,
            body=message.body,
            subject=message.subject,
            cause=message.cause,
            now=now,
            expires_at=now + EVENT_LIFE.total_seconds(),
        )
        return Envelope.sealed(
            message.route, message.body, seal=seal, carnet=None, trace=message.trace
        )

    async def _command(self, message: StoredMessage, receiver: str) -> Envelope:
        """Under a carnet of now, or the caller's of when it was written, and sealed as of then.

        Where its time has passed, its receiver refuses and keeps it.
        """
        carnet, now = message.carnet, message.accepted_at
        if carnet is None:
            carnet = await self._carnet(receiver, message.scopes) if message.scopes else None
            now = self._clock()
        seal = self._sealer.command(
            route=message.route,
            audience=receiver,
            message_id=message.message_id,
            body=message.body,
            carnet=carnet,
            now=now,
            expires_at=max(now, message.wanted_until or 0),
        )
        return Envelope.sealed(
            message.route, message.body, seal=seal, carnet=carnet, trace=message.trace
        )

    async def _carnet(self, receiver: str, scopes: frozenset[str]) -> str:
        if self._carnets is None:
            raise NoCarnetError(f"there is no source of carnets for {receiver}")
        try:
            async with asyncio.timeout(DEADLINE):  # locks are held meanwhile
                return await self._carnets(receiver, scopes)
        except TimeoutError as error:
            raise NoCarnetError(f"no carnet for {receiver} within {DEADLINE:g} s") from error
        except RefusalError as error:
            raise NoCarnetError(f"no carnet for {receiver}: {error.detail}") from error

    async def _write_down(self, session: AsyncSession, outcomes: Sequence[_Outcome]) -> None:
        published = [message for outcome in outcomes for message in outcome.published]
        await remove(session, self._outbox, published)
        self._telemetry.published.add(len(published))
        for outcome in outcomes:
            held, failure = outcome.held, outcome.failure
            if held is None or outcome.everybodys:
                continue
            self._telemetry.held_back.add()
            wait = _RANDOM.uniform(0, min(2**held.failures, LONGEST_HOLD))
            log.warning(
                "outbox_holds_back",
                aggregate=held.aggregate,
                type=held.route.type,
                message_id=held.message_id,
                failures=held.failures + 1,
                code=getattr(failure, "code", type(failure).__name__),
                detail=getattr(failure, "detail", "it cannot be sealed"),
            )
            await hold_back(session, self._outbox, held, due_at=self._clock() + wait)
