"""What a delivery changes in the service's database: each in one transaction, or not at all."""

import asyncio
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from auth.checks import bearer_token, only_header
from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.message import AUTHORIZATION, CARNET_SEAL, VerifiedMessage
from auth.verifier import Moment
from messaging.consumer_parts import ConsumerParts
from messaging.contract import Command, Event
from messaging.database_faults import is_database_fault
from messaging.delivery import Delivery
from messaging.errors import DatabaseUnavailableError, RepeatedError
from messaging.handlers import CommandHandler
from messaging.inbox import Claim, MessageKey, claim, claim_new
from messaging.onward import RELEASED, Onward, OnwardError
from messaging.onward_room import OnwardRoom, StandAsideError
from messaging.outbox import add_outgoing
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.retries import (
    CRASHES,
    count_attempt,
    count_start,
    forget_attempts,
    line_up,
    somebody_ahead,
    take_back_starts,
    things_with_somebody_ahead,
)
from messaging.topology import RetryQueue, WorkQueue
from messaging.tracing import step
from messaging.unit_of_work import UnitOfWork

ASIDE: Final = timedelta(seconds=30)
"""How long a command that stands aside for the issuer waits at most: its carnet lasts minutes."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Accepted:
    """A delivery that is genuine, and what is to be done about it.

    at: by what it was found so.
    command, about: its body, and what that is about; `failure` is why we could not read it.
    discarded: an operator says that nothing is to be done.
    """

    handler: CommandHandler
    message: VerifiedMessage
    at: Moment
    command: Command | Event | None = None
    about: str | None = None
    failure: Exception | None = None
    discarded: bool = False

    @property
    def id(self) -> MessageKey:
        """Publisher and id of the message."""
        return self.message.seal.iss, self.message.seal.jti

    @property
    def things(self) -> tuple[str, ...]:
        """What it is about, if anything."""
        return () if self.about is None else (self.about,)


class ApartError(Exception):
    """Some of those that were to share a transaction have to be handled by themselves."""

    def __init__(self, places: Collection[int]) -> None:
        """`places`: which of them, counted from 0."""
        super().__init__(f"{len(places)} of them have to be handled by themselves")
        self.places = places


class Handling:
    """The transactions of one consumer."""

    def __init__(self, queue: WorkQueue, parts: ConsumerParts, room: OnwardRoom) -> None:
        """`room`: told whether the issuer gives carnets for further hops."""
        self._room = room
        self._waits = queue.retries
        self._parts = parts
        self._inbox = parts.tables.inbox
        self._retries = parts.tables.retries
        self._process = secrets.token_hex(16)
        self._tracing = parts.broker.telemetry.tracing

    async def start(self, message: VerifiedMessage, now: float) -> None:
        """Write down the start of a redelivered message, unless it has killed too many already.

        Raises:
            RefusalError: `poison`.
        """
        crashes = await self._count_start(message, now)
        if crashes >= CRASHES:
            raise RefusalError(Code.POISON, f"its handling ended {crashes} processes")

    async def perform(self, accepted: Accepted, delivery: Delivery, now: float) -> Outcome:
        """Inbox row, effect and events become true together, or none of them.

        Raises:
            Exception: whatever the handler raises; then nothing is.
        """
        if accepted.discarded:
            return await self._discard(accepted.message, delivery, now)
        if accepted.failure is not None:
            raise accepted.failure
        message, about = accepted.message, accepted.about
        onward, now = await self._onward(accepted, delivery, now)
        if onward:  # that may have taken its time: what has ended or was revoked since is refused
            accepted.handler.verify_again(
                self._parts.verifier, message, delivery.unverified(), now=now
            )
        ahead, handled_at = None, now
        if about is not None:
            ahead = somebody_ahead(self._retries, message, about=about, now=now)
        async with self._parts.database.transaction() as session:
            claimed = await claim(
                session, self._inbox, message, outcome="done", now=now, unless=ahead
            )
            if claimed.standing == "ahead":
                since = await line_up(session, self._retries, message, about=about, now=now)
            else:
                if claimed.standing in {"new", "released"}:
                    work = self._work(session, message, delivery, now)
                    work.may_act(onward)
                    async with asyncio.timeout(self._parts.time_limit):
                        with _CANCELLATIONS_OF_OTHERS:
                            await self._run(accepted, delivery, work)
                            handled_at = time.time()
                            await work.flush()
                    await self._add_outgoing(work, delivery)
                await self._forget(session, message, delivery)
        if claimed.standing == "ahead":
            return Retry(self._wait_after(timedelta(seconds=now - since)))
        if self._tracing.on:
            self._tell_commit([delivery], handled_at)
        return self._after(claimed, Ack())

    async def _onward(
        self, accepted: Accepted, delivery: Delivery, now: float
    ) -> tuple[dict[str, tuple[Onward, str]], float]:
        """The carnets for what the handler may do in its caller's name, and the time by then.

        Raises:
            OnwardError, TransientError, TrustUnavailableError: as `OnwardCarnets`.
            StandAsideError: the issuer is away, and others wait for it already.
        """
        hops, give = accepted.handler.onward, self._parts.onward
        if not hops or give is None:
            return {}, now
        message, unverified = accepted.message, delivery.unverified()
        if message.carnet is None:
            raise OnwardError(RELEASED, "nobody acts for the caller of a message that was released")
        carnet = bearer_token(only_header(unverified, AUTHORIZATION))
        seal = only_header(unverified, CARNET_SEAL)
        try:
            carnets = {hop.to: (hop, await give(message, carnet, seal, hop)) for hop in hops}
        except TrustUnavailableError as fault:
            self._room.unanswered()
            if self._room.crowded:
                raise StandAsideError from fault
            raise
        return carnets, self._parts.clock()

    async def stand_aside(self, accepted: Accepted, now: float) -> Outcome:
        """Have it wait elsewhere, in its place in line; it is no attempt, and not counted."""
        message = accepted.message
        async with self._parts.database.transaction() as session:
            await line_up(session, self._retries, message, about=accepted.about, now=now)
        return Retry(self._wait_after(min(timedelta(seconds=now - message.seal.iat), ASIDE)))

    async def perform_together(
        self, together: Sequence[tuple[Accepted, Delivery]], now: float
    ) -> None:
        """As `perform`, for many at once: all of it becomes true, or nothing.

        Raises:
            ApartError: nothing is, because of these: one is no new one, another one goes first,
                or its handler raised.
        """
        try:
            async with self._parts.database.transaction() as session:
                await self._claim_all(session, [accepted for accepted, _ in together], now)
                works = [
                    self._work(session, accepted.message, delivery, now)
                    for accepted, delivery in together
                ]
                await self._run_all(together, works)
                handled_at = time.time()
                traces = [delivery.trace for _, delivery in together]
                await add_outgoing(self._parts.tables.outbox, zip(works, traces, strict=True))
        except (ApartError, TrustUnavailableError, DatabaseUnavailableError):
            raise
        except Exception as error:
            raise ApartError(range(len(together))) from error
        self._parts.committed()
        if self._tracing.on:
            self._tell_commit([delivery for _, delivery in together], handled_at)

    async def _claim_all(
        self, session: AsyncSession, together: Sequence[Accepted], now: float
    ) -> None:
        things = [thing for accepted in together for thing in accepted.things]
        taken = await things_with_somebody_ahead(session, self._retries, things, now=now)
        new = await claim_new(
            session, self._inbox, [accepted.message for accepted in together], now=now
        )
        apart = [
            place
            for place, accepted in enumerate(together)
            if accepted.id not in new or not taken.isdisjoint(accepted.things)
        ]
        if apart:
            raise ApartError(apart)

    def _tell_commit(self, deliveries: Sequence[Delivery], handled_at: float) -> None:
        for delivery in deliveries:
            if delivery.span.recording:
                self._tracing.begin("commit", "internal", parent=delivery.span, at=handled_at).end()

    async def _run_all(
        self, together: Sequence[tuple[Accepted, Delivery]], works: Sequence[UnitOfWork]
    ) -> None:
        """Run the handlers one after the other. All of them have the time of one."""
        place = 0
        try:
            async with asyncio.timeout(self._parts.time_limit):
                for place, (accepted, delivery) in enumerate(together):
                    await self._run_beside_others(place, accepted, delivery, works[place])
                for work in works:
                    await work.flush()
        except TimeoutError as error:
            raise ApartError([place]) from error

    async def _run_beside_others(
        self, place: int, accepted: Accepted, delivery: Delivery, work: UnitOfWork
    ) -> None:
        try:
            with _CANCELLATIONS_OF_OTHERS:
                await self._run(accepted, delivery, work)
        except Exception as error:
            # Whatever it was: it is done again by itself, and then this is looked at.
            raise ApartError([place]) from error

    async def _run(self, accepted: Accepted, delivery: Delivery, work: UnitOfWork) -> None:
        """Run its handler, as a step of its own where its trace is told of."""
        if not delivery.span.recording:
            await _handle(accepted, work)
            return
        name = f"handle {accepted.handler.contract.route.type}"
        with step(self._tracing, name, parent=delivery.span):
            await _handle(accepted, work)

    async def refuse(self, refusal: RefusalError, delivery: Delivery) -> Outcome:
        """Write down a refusal, and tell it, if the message was genuine; never otherwise."""
        dead = DeadLetter(refusal.code, refusal.detail)
        message, now = refusal.authenticated, self._parts.clock()
        if message is None or refusal.code == Code.ID_REUSED:
            return dead  # under a forged or a used id there is nothing to write down
        # To tell of it may be what kills us: after a last try it goes untold.
        tell = not delivery.redelivered or await self._count_start(message, now) <= CRASHES
        async with self._parts.database.transaction() as session:
            claimed = await claim(
                session, self._inbox, message, outcome="refused", code=refusal.code, now=now
            )
            if claimed.standing == "new" and tell:
                work = self._work(session, message, delivery, now)
                await self._tell(refusal, work, delivery)
            await self._forget(session, message, delivery)
        return self._after(claimed, dead)

    async def try_later(
        self,
        reason: str,
        accepted: Accepted,
        delivery: Delivery,
        now: float,
        *,
        stays_ahead: bool,
    ) -> Outcome:
        """Count a failed attempt. `stays_ahead`: of those that come later, about the same thing."""
        message = accepted.message
        async with self._parts.database.transaction() as session:
            attempts = await count_attempt(
                session,
                self._retries,
                message,
                about=accepted.about,
                stays_ahead=stays_ahead,
                now=now,
            )
        if attempts <= len(self._waits) and _outlives(message, self._waits[attempts - 1], now):
            return Retry(self._waits[attempts - 1])
        exhausted = RefusalError(Code.EXHAUSTED, f"failed {attempts} times, at last: {reason}")
        return await self.refuse(exhausted.of(message), delivery)

    async def forget(self, accepted: Accepted, delivery: Delivery) -> Outcome:
        """It was done before, longer ago than the inbox remembers."""
        async with self._parts.database.transaction() as session:
            await self._forget(session, accepted.message, delivery)
        return Ack()

    async def stop(self) -> None:
        """The process ends in order: what it has started and not ended is no crash.

        Raises:
            DatabaseUnavailableError: it will count as one.
        """
        async with self._parts.database.transaction() as session:
            await take_back_starts(session, self._retries, process=self._process)

    async def _count_start(self, message: VerifiedMessage, now: float) -> int:
        async with self._parts.database.transaction() as session:
            return await count_start(
                session, self._retries, message, process=self._process, now=now
            )

    async def _discard(self, message: VerifiedMessage, delivery: Delivery, now: float) -> Outcome:
        """Write down that an operator has discarded it; tell it, if its end was never told."""
        refusal = RefusalError(Code.DISCARDED, "an operator has discarded it")
        async with self._parts.database.transaction() as session:
            claimed = await claim(
                session, self._inbox, message, outcome="discarded", code=refusal.code, now=now
            )
            if claimed.standing == "new":
                work = self._work(session, message, delivery, now)
                await self._tell(refusal, work, delivery)
            await self._forget(session, message, delivery)
        self._parts.committed()
        return Ack()

    async def _tell(self, refusal: RefusalError, work: UnitOfWork, delivery: Delivery) -> None:
        """What the service has to say; if it fails at that, the refusal stands all the same."""
        message = work.message
        try:
            async with work.session.begin_nested():
                async with asyncio.timeout(self._parts.time_limit):
                    with _CANCELLATIONS_OF_OTHERS:
                        await self._parts.on_refused(refusal, message, work)
                        await work.flush()
                await self._add_outgoing(work, delivery)
        except (TrustUnavailableError, DatabaseUnavailableError):
            raise
        except RepeatedError as repeated:
            log.info("refusal_not_told", detail=repeated.detail, message_id=message.seal.jti)
        except Exception as error:
            if is_database_fault(error):
                raise
            log.exception("refusal_not_told", code=refusal.code, message_id=message.seal.jti)

    def _after(self, claimed: Claim, first_time: Outcome) -> Outcome:
        """The outcome now, or the one that the same message had before.

        A refused one is moved again: that its dead letter was confirmed is not known.
        """
        match claimed.standing:
            case "new" | "released":
                self._parts.committed()
                return first_time
            case "refused":
                return DeadLetter(claimed.code or "", "refused before")
            case "other":
                return DeadLetter(
                    Code.ID_REUSED, "its publisher gave this id to another message before"
                )
            case _:
                return Ack()

    def _wait_after(self, waited: timedelta) -> RetryQueue:
        """How long to wait behind another one: at most as long again as it has waited already."""
        fitting = [retry for retry in self._waits if retry.delay <= waited]
        return fitting[-1] if fitting else self._waits[0]

    def _work(
        self, session: AsyncSession, message: VerifiedMessage, delivery: Delivery, now: float
    ) -> UnitOfWork:
        return self._parts.unit_of_work(session, message, body=delivery.body, now=now)

    async def _add_outgoing(self, work: UnitOfWork, delivery: Delivery) -> None:
        await add_outgoing(self._parts.tables.outbox, [(work, delivery.trace)])

    async def _forget(
        self, session: AsyncSession, message: VerifiedMessage, delivery: Delivery
    ) -> None:
        """It is done with, and so are its counts, where it can have any."""
        if delivery.returned or delivery.redelivered:
            await forget_attempts(session, self._retries, message)


async def _handle(accepted: Accepted, work: UnitOfWork) -> None:
    if accepted.command is None:
        raise RuntimeError("what could not be read is not handled")
    await accepted.handler.handle(accepted.command, accepted.message, work)


class _CancellationsOfOthers:
    """What a handler waits for may be cancelled. That cancels nothing of ours: it has failed."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                raise RuntimeError("what it waited for was cancelled") from error


_CANCELLATIONS_OF_OTHERS: Final = _CancellationsOfOthers()
"""No generator: it is entered for each message."""


def _outlives(message: VerifiedMessage, wait: RetryQueue, now: float) -> bool:
    """Whether the message can still be taken after a wait: a release is not for long."""
    return message.release is None or now + wait.delay.total_seconds() <= message.release.exp
