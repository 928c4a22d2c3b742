"""From a delivery to its outcome: what happens to it, in this order.

1. It takes its turn: beside others, or alone if it was delivered before and may have killed us.
2. In order of arrival it is verified, and its body parsed. One that was delivered before has its
   start written down first; the fifth crash of it was the last.
3. It waits for those that came before it and are about the same thing.
4. In one transaction its inbox row is claimed, its handler runs, and the events are written. A
   row that was there already decides instead of the handler. So does an earlier command about
   the same thing that waits for a retry: then this one waits behind it.
5. A refusal, of whichever step, is written down and told in one transaction, if the message was
   genuine. A failure is counted, and is an outcome too: later, or never again.

While trust or the database is away it keeps its turn and its place. The transactions are in
`messaging.handling`.
"""

from collections import Counter
from typing import Final

import structlog

from auth.errors import RefusalError, TrustUnavailableError
from auth.message import VerifiedMessage
from messaging.consumer_parts import ConsumerParts
from messaging.delivery import Delivery
from messaging.errors import (
    DatabaseUnavailableError,
    NotYetError,
    RepeatedError,
    TransientError,
)
from messaging.handling import Accepted, CommandHandler, Handling
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.patience import Patience
from messaging.registry import Registry
from messaging.topology import WorkQueue
from messaging.turns import Turns

FRESH: Final = 0.02
"""Seconds for which a verification counts: who was revoked while it waited is refused."""

log = structlog.get_logger(__name__)


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
        self._handlers = handlers
        self._parts = parts
        self._counts = counts
        self._handling = Handling(queue, parts)
        self._turns = Turns()

    async def outcome(self, delivery: Delivery, patience: Patience) -> Outcome:
        """Do what the delivery asks for, once, however long trust or the database is away.

        Raises:
            GivenUpError: the end of `patience` came first.
        """
        async with self._turns.alone() if delivery.redelivered else self._turns.together():
            try:
                outcome = await self._handle_in_turn(delivery, patience)
            except RefusalError as error:
                refusal = error
                outcome = await patience.insist(lambda: self._handling.refuse(refusal, delivery))
        self._counts[_label(outcome)] += 1
        return outcome

    async def stop(self) -> None:
        """The process ends in order.

        Raises:
            DatabaseUnavailableError: that could not be written down.
        """
        await self._handling.stop()

    async def _handle_in_turn(self, delivery: Delivery, patience: Patience) -> Outcome:
        async with self._turns.arrival():
            accepted = await patience.insist(lambda: self._accept(delivery))
        # Nothing is awaited in between, so that they line up as they arrived.
        async with self._turns.about(accepted.about):
            return await patience.insist(lambda: self._handle(accepted, delivery))

    async def _accept(self, delivery: Delivery) -> Accepted:
        """What it is, as far as it is genuine and may be started."""
        now = self._parts.clock()
        handler = self._handlers.choose(delivery.type)
        message = self._verify(handler, delivery, now)
        if message.release is not None and message.release.what == "discard":
            return Accepted(handler, message, now, discarded=True)
        try:
            if delivery.redelivered:
                await self._handling.start(message, now)
            command = handler.contract.from_body(delivery.body)
            about = command.concerns(message.seal.jti)
        except RefusalError as refusal:
            raise refusal.of(message) from refusal.__cause__
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - raised again by `_handle`, where it counts
            return Accepted(handler, message, now, failure=error)
        return Accepted(handler, message, now, command=command, about=about)

    async def _handle(self, accepted: Accepted, delivery: Delivery) -> Outcome:
        now = self._parts.clock()
        if not 0 <= now - accepted.at <= FRESH:
            self._verify(accepted.handler, delivery, now)
        message = accepted.message
        try:
            return await self._handling.perform(accepted, delivery, now)
        except RefusalError as refusal:
            raise refusal.of(message) from refusal.__cause__
        except (TrustUnavailableError, DatabaseUnavailableError):
            raise
        except RepeatedError as repeated:
            log.info("repeated", detail=repeated.detail, message_id=message.seal.jti)
            return await self._handling.forget(accepted, delivery)
        except TransientError as fault:
            ahead = not isinstance(fault, NotYetError)
            return await self._handling.try_later(
                fault.detail, accepted, delivery, now, stays_ahead=ahead
            )
        except Exception as error:
            # A handler may raise anything, and a bug of ours is no fault of the message's.
            log.exception("handler_failed", type=delivery.type, message_id=message.seal.jti)
            reason = type(error).__name__
            return await self._handling.try_later(reason, accepted, delivery, now, stays_ahead=True)

    def _verify(self, handler: CommandHandler, delivery: Delivery, now: float) -> VerifiedMessage:
        return self._parts.verifier.command(
            delivery.unverified(), handler.contract.route, handler.policy, handler.expiry, now=now
        )


def _label(outcome: Outcome) -> str:
    match outcome:
        case Ack():
            return "done"
        case Retry():
            return "retried"
        case DeadLetter():
            return f"dead:{outcome.code}"
