"""From a delivery to its outcome: what happens to it, in this order.

1. It takes its turn: beside others, or alone if it was delivered before and may have killed us.
2. It is verified. One that was delivered before has its start written down; the fifth crash
   of it was the last.
3. Its body is parsed. In one transaction its inbox row is claimed, its handler runs, and the
   events are written. A row that was there already decides instead of the handler.
4. A refusal, of whichever step, is written down and told in one transaction, if the message was
   genuine. A failure is counted, and is an outcome too: later, or never again.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.message import VerifiedMessage
from auth.policy import Expiry, Policy
from auth.principal import Principal
from messaging.consumer_parts import ConsumerParts
from messaging.contract import Command
from messaging.database_faults import is_database_fault
from messaging.delivery import Delivery
from messaging.envelope import trace_of
from messaging.errors import DatabaseUnavailableError, RepeatedError, TransientError
from messaging.inbox import Claim, claim, subject_of
from messaging.outbox import add_outgoing
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.registry import Registry
from messaging.retries import (
    CRASHES,
    count_attempt,
    count_start,
    forget_attempts,
    take_back_starts,
)
from messaging.topology import RetryQueue, WorkQueue
from messaging.turns import Turns
from messaging.unit_of_work import UnitOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """What was registered for one type of command."""

    contract: type[Command]
    policy: Policy
    expiry: Expiry
    run: Callable[[Any, Principal, Any], Awaitable[None]]


class Dispatcher:
    """Decides on deliveries; settles none."""

    def __init__(
        self,
        queue: WorkQueue,
        handlers: Registry[CommandHandler],
        parts: ConsumerParts,
        counts: Counter[str],
    ) -> None:
        """`counts`: where outcomes are counted, by their label."""
        self._queue = queue
        self._handlers = handlers
        self._parts = parts
        self._counts = counts
        self._turns = Turns()
        self._process = secrets.token_hex(16)

    async def outcome(self, delivery: Delivery) -> Outcome:
        """Do what the delivery asks for, once.

        Raises:
            TrustUnavailableError, DatabaseUnavailableError: nothing is known to have been done;
                try the same delivery again.
        """
        async with self._turns.alone() if delivery.redelivered else self._turns.together():
            now = self._parts.clock()
            try:
                outcome = await self._accept(delivery, now)
            except RefusalError as refusal:
                outcome = await self._refuse(refusal, delivery, now)
        self._counts[_label(outcome)] += 1
        return outcome

    async def stop(self) -> None:
        """The process ends in order: what it has started and not ended is no crash.

        Raises:
            DatabaseUnavailableError: it will count as one.
        """
        async with self._parts.database.transaction() as session:
            await take_back_starts(session, self._parts.tables.retries, process=self._process)

    async def _accept(self, delivery: Delivery, now: float) -> Outcome:
        handler = self._handlers.choose(delivery.type)
        message = self._parts.verifier.command(
            delivery.unverified(), handler.contract.route, handler.policy, handler.expiry, now=now
        )
        if message.release is not None and message.release.what == "discard":
            return await self._discard(message, delivery, now)
        try:
            await self._start(message, delivery, now)
            command = handler.contract.from_body(delivery.body)
            return await self._perform(handler, command, message, delivery, now)
        except RefusalError as refusal:
            raise refusal.of(message) from refusal.__cause__
        except (TrustUnavailableError, DatabaseUnavailableError):
            raise
        except RepeatedError as repeated:
            log.info("repeated", detail=repeated.detail, message_id=message.seal.jti)
            return Ack()
        except TransientError as fault:
            return await self._try_later(fault.detail, message, delivery, now)
        except Exception as error:
            # A handler may raise anything, and a bug of ours is no fault of the message's.
            log.exception("handler_failed", type=delivery.type, message_id=message.seal.jti)
            return await self._try_later(type(error).__name__, message, delivery, now)

    async def _start(self, message: VerifiedMessage, delivery: Delivery, now: float) -> None:
        """Start on it, unless it has killed too many already.

        Raises:
            RefusalError: `poison`.
        """
        crashes = await self._crashes(message, delivery, now)
        if crashes >= CRASHES:
            raise RefusalError(Code.POISON, f"its handling ended {crashes} processes")

    async def _crashes(self, message: VerifiedMessage, delivery: Delivery, now: float) -> int:
        """Write down a start; the crashes before it. A first delivery costs nothing."""
        if not delivery.redelivered:
            return 0
        async with self._parts.database.transaction() as session:
            return await count_start(
                session, self._parts.tables.retries, message, process=self._process, now=now
            )

    async def _perform(
        self,
        handler: CommandHandler,
        command: Command,
        message: VerifiedMessage,
        delivery: Delivery,
        now: float,
    ) -> Outcome:
        """Inbox row, effect and events become true together, or none of them."""
        async with self._parts.database.transaction() as session:
            claimed = await claim(
                session, self._parts.tables.inbox, message, outcome="done", now=now
            )
            if claimed.standing in {"new", "released"}:
                work = self._work(session, message, delivery, now)
                async with asyncio.timeout(self._parts.time_limit):
                    await handler.run(command, _caller(message), work)
                await self._add_outgoing(work, delivery)
            await self._forget(session, message, delivery)
        return self._after(claimed, Ack())

    async def _refuse(self, refusal: RefusalError, delivery: Delivery, now: float) -> Outcome:
        """Write down a refusal, and tell it, if the message was genuine; never otherwise."""
        dead = DeadLetter(refusal.code, refusal.detail)
        message = refusal.authenticated
        if message is None or refusal.code == Code.ID_REUSED:
            return dead  # under a forged or a used id there is nothing to write down
        # To tell of it may be what kills us: after a last try it goes untold.
        tell = await self._crashes(message, delivery, now) <= CRASHES
        async with self._parts.database.transaction() as session:
            claimed = await claim(
                session,
                self._parts.tables.inbox,
                message,
                outcome="refused",
                code=refusal.code,
                now=now,
            )
            if claimed.standing == "new" and tell:
                await self._tell(
                    refusal, message, self._work(session, message, delivery, now), delivery
                )
            await self._forget(session, message, delivery)
        return self._after(claimed, dead)

    async def _discard(self, message: VerifiedMessage, delivery: Delivery, now: float) -> Outcome:
        """Write down that an operator has discarded it; tell it, if its end was never told."""
        refusal = RefusalError(Code.DISCARDED, "an operator has discarded it")
        async with self._parts.database.transaction() as session:
            claimed = await claim(
                session,
                self._parts.tables.inbox,
                message,
                outcome="discarded",
                code=refusal.code,
                now=now,
            )
            if claimed.standing == "new":
                await self._tell(
                    refusal, message, self._work(session, message, delivery, now), delivery
                )
            await self._forget(session, message, delivery)
        self._parts.committed()
        return Ack()

    async def _tell(
        self, refusal: RefusalError, message: VerifiedMessage, work: UnitOfWork, delivery: Delivery
    ) -> None:
        """What the service has to say; if it fails at that, the refusal stands all the same."""
        try:
            async with work.session.begin_nested():
                async with asyncio.timeout(self._parts.time_limit):
                    await self._parts.on_refused(refusal, message, work)
                await self._add_outgoing(work, delivery)
        except (TrustUnavailableError, DatabaseUnavailableError):
            raise
        except RepeatedError as repeated:
            log.info("refusal_not_told", detail=repeated.detail, message_id=message.seal.jti)
        except Exception as error:
            if is_database_fault(error):
                raise
            log.exception("refusal_not_told", code=refusal.code, message_id=message.seal.jti)

    async def _try_later(
        self, reason: str, message: VerifiedMessage, delivery: Delivery, now: float
    ) -> Outcome:
        async with self._parts.database.transaction() as session:
            attempts = await count_attempt(session, self._parts.tables.retries, message, now=now)
        waits = self._queue.retries
        if attempts <= len(waits) and _outlives(message, waits[attempts - 1], now):
            return Retry(waits[attempts - 1])
        exhausted = RefusalError(Code.EXHAUSTED, f"failed {attempts} times, at last: {reason}")
        return await self._refuse(exhausted.of(message), delivery, now)

    def _after(self, claimed: Claim, first_time: Outcome) -> Outcome:
        """The outcome now, or the one that the same message had before.

        A refused one is moved again: that its dead letter was confirmed is not known.
        """
        match claimed.standing:
            case "new" | "released":
                self._parts.committed()
                return first_time
            case "done":
                return Ack()
            case "refused":
                return DeadLetter(claimed.code or "", "refused before")
            case "other":
                return DeadLetter(
                    Code.ID_REUSED, "its publisher gave this id to another message before"
                )

    def _work(
        self, session: AsyncSession, message: VerifiedMessage, delivery: Delivery, now: float
    ) -> UnitOfWork:
        return self._parts.unit_of_work(session, message, body=delivery.body, now=now)

    async def _add_outgoing(self, work: UnitOfWork, delivery: Delivery) -> None:
        await add_outgoing(self._parts.tables.outbox, work, trace_of(delivery.headers))

    async def _forget(
        self, session: AsyncSession, message: VerifiedMessage, delivery: Delivery
    ) -> None:
        """It is done with, and so are its counts, where it can have any."""
        if delivery.returned or delivery.redelivered:
            await forget_attempts(session, self._parts.tables.retries, message)


def _caller(message: VerifiedMessage) -> Principal:
    """The carnet's principal; under `public()`, where there is none, the client that sealed."""
    if message.principal is not None:
        return message.principal
    seal = message.seal
    return Principal(
        subject=subject_of(message),
        scopes=frozenset(),
        actors=(),
        session=None,
        epoch=0,
        token_id=seal.jti,
        expires_at=seal.exp,
    )


def _outlives(message: VerifiedMessage, wait: RetryQueue, now: float) -> bool:
    """Whether the message can still be taken after a wait: a release is not for long."""
    return message.release is None or now + wait.delay.total_seconds() <= message.release.exp


def _label(outcome: Outcome) -> str:
    match outcome:
        case Ack():
            return "done"
        case Retry():
            return "retried"
        case DeadLetter():
            return f"dead:{outcome.code}"
