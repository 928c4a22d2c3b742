"""From deliveries to their outcomes: what happens to each, in this order.

1. Deliveries are taken as they come, many at a time, and verified up to their signatures, which
   a process beside ours may check (`messaging.signatures`) while those before them are handled.
   Then the rest is verified, and the bodies of the genuine ones are parsed.
2. One that was delivered before may have killed us. It runs alone: once all others have ended,
   and after its start was written down; the fifth crash of it was the last.
3. Each waits for those that came before it and are about the same thing.
4. In one transaction its inbox row is claimed, its handler runs, and the events are written. A
   row that was there already decides instead of the handler. So does an earlier command about
   the same thing that waits for a retry: then this one waits behind it. Commands whose handlers
   allow it share a transaction (`docs/decisions/0018-shared-transactions.md`); if anything is odd
   about one of them it is done by itself.
5. A refusal, of whichever step, is written down and told in one transaction, if the message was
   genuine. A failure is counted, and is an outcome too: later, or never again.
6. Settled is what is done, as much as possible at once.

While trust or the database is away, all keep their places. The transactions are in
`messaging.handling`.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Final

import structlog

from auth.errors import RefusalError, TrustUnavailableError
from auth.verifier import Moment, Opened
from messaging.consumer_parts import ConsumerParts
from messaging.consumer_telemetry import ConsumerTelemetry
from messaging.delivery import Delivery, Registration
from messaging.errors import (
    DatabaseUnavailableError,
    NotYetError,
    RepeatedError,
    TransientError,
)
from messaging.handlers import CommandHandler
from messaging.handling import Accepted, ApartError, Handling
from messaging.inbox import MessageKey
from messaging.lines import Lines, Places
from messaging.onward_room import OnwardRoom, StandAsideError
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.patience import GivenUpError, Patience
from messaging.registry import Registry
from messaging.serving import give_back
from messaging.settlement import MAX_DETAIL, Settlement
from messaging.subscriptions import Subscriptions
from messaging.topology import WorkQueue
from messaging.tracing import code_of

TOGETHER: Final = 200
"""Deliveries that are verified at once, at most; those of several times may share a transaction."""

SHARING: Final = 1
"""Shared transactions at once: what comes meanwhile gathers for the next."""

TRIES: Final = 3
"""Shared transactions that are tried for the same commands, each without what was odd in the one
before; then all are done by themselves."""

log = structlog.get_logger(__name__)

Opening = list[tuple[Delivery, Opened | RefusalError]]
"""Deliveries, each checked up to its signatures."""
Verdict = Accepted | RefusalError
Job = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Shared:
    """Commands that will be handled in one transaction, in this order."""

    places: Places
    entries: list[tuple[Accepted, Delivery]] = field(default_factory=list)
    ids: set[MessageKey] = field(default_factory=set)

    def add(self, accepted: Accepted, delivery: Delivery) -> None:
        """Its place in line it takes now."""
        self.entries.append((accepted, delivery))
        self.ids.add(accepted.id)
        for thing in accepted.things:
            self.places.join(thing)

    def may_take(self, accepted: Accepted) -> bool:
        """Whether it is not among them already, and would overtake nobody who waits for them."""
        return accepted.id not in self.ids and all(map(self.places.last_in, accepted.things))


class Dispatcher:
    """Decides on the deliveries of one consumer, from all its queues, and has them settled."""

    def __init__(
        self,
        queue: WorkQueue,
        handlers: Registry[CommandHandler],
        parts: ConsumerParts,
        counts: Counter[str],
        shutdown: asyncio.Event,
    ) -> None:
        """`counts`: where outcomes are counted, by their label."""
        self._handlers = handlers
        self._parts = parts
        self._counts = counts
        self._shutdown = shutdown
        self._telemetry = ConsumerTelemetry(parts.broker.telemetry, queue, handlers)
        parts.broker.telemetry.watch(parts.verifier)
        parts.database.watch(parts.broker.telemetry.metrics)
        share = max(1, parts.prefetch // len(parts.queues or queue.consumed))
        self._onward = OnwardRoom(
            asking=max(1, min(parts.concurrency, share) // 2), most=max(1, share // 2)
        )
        """Of those who ask the issuer first: where it is away, they keep others from nothing."""
        self._handling = Handling(queue, parts, self._onward)
        self._settlement = Settlement(parts.publisher, queue, parts.service, parts.clock)
        self._lines = Lines()
        self._slots = asyncio.Semaphore(parts.concurrency)
        self._shared = _Shared(self._lines.places())
        """What will share the next transaction."""
        self._sharing = 0
        """Shared transactions that run."""
        self._running: set[asyncio.Task[None]] = set()
        self._jobs: asyncio.TaskGroup

    async def run(self, subscriptions: Subscriptions) -> None:
        """Handle what comes until the subscriptions end, and what runs then."""
        opened: asyncio.Queue[Opening | None] = asyncio.Queue(maxsize=1)
        async with asyncio.TaskGroup() as self._jobs:
            self._jobs.create_task(self._open_ahead(subscriptions, opened), name="opening")
            while (opening := await opened.get()) is not None:
                await self._take(opening)
            self._begin_shared()

    async def stop(self) -> None:
        """The process ends in order.

        Raises:
            DatabaseUnavailableError: that could not be written down.
        """
        await self._handling.stop()

    # Who runs, and beside whom

    async def _idle(self) -> None:
        self._begin_shared()
        with self._onward.emptying():
            while self._running:
                await asyncio.wait(self._running)

    async def _take(self, opening: Opening) -> None:
        """Judge these, and begin to handle each as soon as there is room for it."""
        few = [delivery for delivery, _ in opening]
        alone = few[0].redelivered  # any of these may have killed us: each is one by itself
        if alone:
            await self._idle()
        verdicts: list[Verdict] = []
        async with self._edge(few):
            verdicts = await self._patience(few).insist(partial(self._judge, opening))
        if not verdicts:
            return
        for delivery, verdict in zip(few, verdicts, strict=True):
            if isinstance(verdict, RefusalError):
                job = partial(self._refuse, verdict, delivery)
                await self._begin([delivery], self._lines.places(), job)
            elif _may_share(verdict, delivery) and self._shared.may_take(verdict):
                self._shared.add(verdict, delivery)
            else:
                places = self._lines.places()
                for thing in verdict.things:
                    places.join(thing)
                if verdict.handler.onward:
                    self._onward.enter()
                    job = partial(self._in_turn_onward, verdict, delivery)
                    self._start([delivery], places, job)
                else:
                    job = partial(self._handle, verdict, delivery)
                    await self._begin([delivery], places, job)
        if self._sharing < SHARING:
            self._begin_shared()
        if alone:
            await self._idle()

    def _begin_shared(self) -> None:
        """Handle together what has gathered; those to come gather while this runs."""
        shared, self._shared = self._shared, _Shared(self._lines.places())
        if shared.ids:
            self._sharing += 1
            deliveries = [delivery for _, delivery in shared.entries]
            self._start(deliveries, shared.places, partial(self._handle_together, shared.entries))

    def _end_of_sharing(self) -> None:
        self._sharing -= 1
        if self._sharing < SHARING:
            self._begin_shared()

    async def _begin(self, deliveries: Sequence[Delivery], places: Places, job: Job) -> None:
        """Start a job once there is room."""
        if self._slots.locked() and self._sharing < SHARING:
            self._begin_shared()  # those who have all the room may wait for just that
        await self._slots.acquire()
        task = self._start(deliveries, places, job)
        task.add_done_callback(lambda _: self._slots.release())

    async def _in_turn_onward(self, accepted: Accepted, delivery: Delivery) -> None:
        if not await self._onward.turn():
            await self._stand_aside(accepted, delivery)
            return
        try:
            await self._handle(accepted, delivery)
        finally:
            self._onward.leave()

    def _start(
        self, deliveries: Sequence[Delivery], places: Places, job: Job
    ) -> asyncio.Task[None]:
        async def run() -> None:
            async with self._edge(deliveries), places.turn():
                await job()

        task = self._jobs.create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    @asynccontextmanager
    async def _edge(self, deliveries: Sequence[Delivery]) -> AsyncIterator[None]:
        """The outermost edge: whatever happens to some deliveries, the others go on."""
        try:
            yield
        except GivenUpError:
            self._telemetry.left(deliveries, "given_up")  # the broker keeps what is not settled
        except Exception as error:  # noqa: BLE001 - a bug of ours
            self._telemetry.left(deliveries, code_of(error))
            await give_back(deliveries, error, self._shutdown)

    def _patience(self, deliveries: Sequence[Delivery]) -> Patience:
        return Patience(self._shutdown, {each.registration.lost for each in deliveries})

    # What they are

    async def _open_ahead(
        self, subscriptions: Subscriptions, opened: asyncio.Queue[Opening | None]
    ) -> None:
        """Check what comes next up to its signatures, while what came before is handled."""
        while deliveries := await subscriptions.next_few(TOGETHER):
            for few in _companies(deliveries):
                async with self._edge(few):
                    opening = partial(self._open_all, few)
                    await opened.put(await self._patience(few).insist(opening))
        await opened.put(None)

    async def _open_all(self, few: Sequence[Delivery]) -> Opening:
        began, now = time.perf_counter(), self._parts.clock()
        opened = [self._open(delivery, now) for delivery in few]
        signatures = [
            signature
            for each in opened
            if isinstance(each, Opened)
            for signature in each.signatures
        ]
        verdicts = iter(await self._parts.signatures.check(signatures))
        self._telemetry.opened(few, time.perf_counter() - began)
        return [
            (delivery, each if isinstance(each, RefusalError) else _signed(each, verdicts))
            for delivery, each in zip(few, opened, strict=True)
        ]

    async def _judge(self, opening: Opening) -> list[Verdict]:
        began, now = time.perf_counter(), self._parts.clock()
        at = self._parts.verifier.moment(now)
        verdicts = [
            each if isinstance(each, RefusalError) else await self._accept(each, delivery, now, at)
            for delivery, each in opening
        ]
        few = [delivery for delivery, _ in opening]
        self._telemetry.judged(few, verdicts, time.perf_counter() - began, now=now)
        return verdicts

    def _open(self, delivery: Delivery, now: float) -> Opened | RefusalError:
        try:
            handler = self._handlers.choose(delivery.type)
            return handler.open(self._parts.verifier, delivery.unverified(), now=now)
        except RefusalError as refusal:
            return refusal

    async def _accept(self, opened: Opened, delivery: Delivery, now: float, at: Moment) -> Verdict:
        """What it is, as far as it is genuine and may be started."""
        handler = self._handlers.choose(delivery.type)
        try:
            message = handler.close(self._parts.verifier, opened, now=now)
        except RefusalError as refusal:
            return refusal
        if message.release is not None and message.release.what == "discard":
            return Accepted(handler, message, at, discarded=True)
        try:
            if delivery.redelivered:
                await self._handling.start(message, now)
            command = handler.contract.from_body(delivery.body)
            about = command.concerns(message.seal.jti)
        except RefusalError as refusal:
            refused = refusal.of(message)
            refused.__cause__ = refusal.__cause__
            return refused
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - raised again by `perform`, where it counts
            return Accepted(handler, message, at, failure=error)
        return Accepted(handler, message, at, command=command, about=about)

    # What becomes of them

    async def _handle_together(self, together: Sequence[tuple[Accepted, Delivery]]) -> None:
        """Many in one transaction; those that cannot be, by themselves, and in their order."""
        try:
            done = await self._share(together)
        except Exception:
            self._end_of_sharing()
            raise
        self._end_of_sharing()  # one that takes its time by itself holds up no others
        for accepted, delivery in together:
            if accepted.id not in done:
                async with self._edge([delivery]):  # its channel may be lost, and theirs not
                    await self._handle(accepted, delivery)

    async def _share(self, together: Sequence[tuple[Accepted, Delivery]]) -> set[MessageKey]:
        """Those that were done in one transaction, and are settled."""
        patience = self._patience([delivery for _, delivery in together])
        rest = together
        for _ in range(TRIES):
            if len(rest) < 2:  # noqa: PLR2004 - nobody to share with
                break
            try:
                await patience.insist(partial(self._perform_together, rest))
            except ApartError as error:
                rest = _without(rest, error.places)
            else:
                deliveries = [delivery for _, delivery in rest]
                self._counts["done"] += len(rest)
                self._watched(deliveries, Ack())
                await _acknowledge(deliveries)
                self._telemetry.done(deliveries)
                return {accepted.id for accepted, _ in rest}
        return set()

    async def _perform_together(self, together: Sequence[tuple[Accepted, Delivery]]) -> None:
        now = self._parts.clock()
        at = self._parts.verifier.fresh_moment(now)
        for place, (accepted, delivery) in enumerate(together):
            if accepted.at == at:
                continue
            try:
                self._verify_again(accepted, delivery, now)
            except RefusalError as refusal:
                raise ApartError([place]) from refusal
        began = time.perf_counter()
        await self._handling.perform_together(together, now)
        self._telemetry.handled(time.perf_counter() - began, len(together))

    async def _handle(self, accepted: Accepted, delivery: Delivery) -> None:
        patience = self._patience([delivery])
        with delivery.span.current():
            try:
                outcome = await patience.insist(lambda: self._perform(accepted, delivery))
            except RefusalError as refusal:
                await self._refuse(refusal, delivery)
            except StandAsideError:
                await self._stand_aside(accepted, delivery)
            else:
                await self._settle(outcome, delivery)

    async def _stand_aside(self, accepted: Accepted, delivery: Delivery) -> None:
        outcome = await self._patience([delivery]).insist(
            lambda: self._handling.stand_aside(accepted, self._parts.clock())
        )
        await self._settle(outcome, delivery)

    async def _refuse(self, refusal: RefusalError, delivery: Delivery) -> None:
        with delivery.span.current():
            outcome = await self._patience([delivery]).insist(
                lambda: self._handling.refuse(refusal, delivery)
            )
            await self._settle(outcome, delivery)

    async def _settle(self, outcome: Outcome, delivery: Delivery) -> None:
        self._counts[_label(outcome)] += 1
        if isinstance(outcome, DeadLetter):
            log.warning(
                "command_dead_lettered",
                code=outcome.code,
                detail=outcome.detail[:MAX_DETAIL],
                type=f"{delivery.type!r:.100}",
            )
        self._watched([delivery], outcome)
        await self._settlement.settle(delivery, outcome, self._shutdown)
        self._telemetry.settled(delivery, outcome)

    def _watched(self, deliveries: Iterable[Delivery], outcome: Outcome) -> None:
        """Whoever wants to see messages travel is told what became of them."""
        if self._parts.journeys is not None:
            for delivery in deliveries:
                self._parts.journeys.settled(delivery, outcome)

    async def _perform(self, accepted: Accepted, delivery: Delivery) -> Outcome:
        now = self._parts.clock()
        self._verify_again(accepted, delivery, now)
        message, began = accepted.message, time.perf_counter()
        try:
            outcome = await self._handling.perform(accepted, delivery, now)
        except RefusalError as refusal:
            raise refusal.of(message) from refusal.__cause__
        except (TrustUnavailableError, DatabaseUnavailableError, StandAsideError):
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
        self._telemetry.handled(time.perf_counter() - began)
        return outcome

    def _verify_again(self, accepted: Accepted, delivery: Delivery, now: float) -> None:
        """Whoever was revoked while the message waited here is refused."""
        accepted.handler.verify_again(
            self._parts.verifier, accepted.message, delivery.unverified(), now=now
        )


def _companies(deliveries: Sequence[Delivery]) -> Iterator[Sequence[Delivery]]:
    """Those that may be looked at together; one that was delivered before is by itself."""
    for redelivered, few in groupby(deliveries, key=lambda each: each.redelivered):
        if redelivered:
            for delivery in few:
                yield [delivery]
        else:
            yield list(few)


def _signed(opened: Opened, verdicts: Iterator[bool]) -> Opened | RefusalError:
    """It, if its signatures hold: the next verdicts are theirs."""
    try:
        opened.take_verdicts([next(verdicts) for _ in opened.unread])
    except RefusalError as refusal:
        return refusal
    return opened


def _without(
    together: Sequence[tuple[Accepted, Delivery]], places: Collection[int]
) -> Sequence[tuple[Accepted, Delivery]]:
    """All but these, and those that are about the same things."""
    out = [together[place][0] for place in places]
    ids = {accepted.id for accepted in out}
    things = {thing for accepted in out for thing in accepted.things}
    return [
        (accepted, delivery)
        for accepted, delivery in together
        if accepted.id not in ids and things.isdisjoint(accepted.things)
    ]


def _may_share(accepted: Accepted, delivery: Delivery) -> bool:
    """Whether a transaction with others will do: it is here for the first time, and no release."""
    return (
        accepted.handler.together
        and accepted.command is not None
        and accepted.message.release is None
        and not delivery.redelivered
        and not delivery.returned
    )


async def _acknowledge(deliveries: Iterable[Delivery]) -> None:
    """As many as possible at once, of each queue."""
    by_queue: defaultdict[Registration, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_queue[delivery.registration].append(delivery)
    for registration, few in by_queue.items():
        await registration.ack(few)


def _label(outcome: Outcome) -> str:
    match outcome:
        case Ack():
            return "done"
        case Retry():
            return "retried"
        case DeadLetter():
            return f"dead:{outcome.code}"
