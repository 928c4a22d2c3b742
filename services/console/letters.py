"""Dead letters over the console: one reading of a queue at a time, bounded in number and time.

A reading holds the letters until it ends; whoever read at the same time would find none. So one
waits for the other here, and is told so where that takes long. (A command that reads meanwhile is
another process: it finds none, or we do.)
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from auth.release import LIFTS, Lift
from auth.trust import TrustSource
from messaging.broker import Broker
from messaging.deadletters import Held, Reading
from messaging.letters import Letter
from messaging.publisher import Publisher
from messaging.rpc import RpcClient
from services.console.problems import BEING_READ, UNKNOWN_LETTER, UNKNOWN_QUEUE
from services.failure import KNOWN_ERRORS
from services.operations import bulk
from services.operations.desk import AccessToken, Desk
from services.operations.letters import Filter, Fold, Line, details_of
from services.operations.settling import Settle, discarding, releasing
from services.operations.verdicts import Judge, Place
from services.web.faults import RETRY_AFTER
from services.web.problems import ProblemError

SHOWN: Final = 500
"""Letters in one answer, at most."""

READ: Final = 20_000
"""Letters in one reading, at most; folded, each takes half a kilobyte."""

WINDOW: Final = 100
"""Letters in memory at once: as many bodies, each as large as the broker takes them."""

LOOKING: Final = 10.0
ACTING: Final = 60.0
"""Seconds for a reading that only looks, and for one in which letters are released or discarded.

Then it ends at the next letter; giving back what it holds has its own bounds
(`messaging.deadletters`)."""

PATIENCE: Final = 15.0
"""Seconds to wait for another reading to end."""

GONE: Final = "not_found"
NOT_REACHED: Final = "not_reached"
"""Why a letter was left alone: it is not there, or so much lies before it that time was up."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """What a filter finds in a queue.

    lines: the newest first, `SHOWN` at most.   total: how many there are, copies folded.
    reasons: how many of each there are, whatever reasons the filter names.
    complete: whether all letters were read that lay there.
    """

    lines: list[Line]
    total: int
    reasons: dict[str, int]
    complete: bool


class Letters:
    """The dead letters of each place."""

    def __init__(
        self,
        places: Mapping[str, Place],
        *,
        broker: Broker,
        publisher: Publisher,
        rpc: RpcClient,
        trust: TrustSource,
        clock: Callable[[], float],
    ) -> None:
        self._places = dict(places)
        self._broker = broker
        self._publisher = publisher
        self._rpc = rpc
        self._trust = trust
        self._clock = clock
        self._turns = {name: asyncio.Lock() for name in self._places}

    @property
    def queues(self) -> list[str]:
        """The work queues that have dead letters."""
        return list(self._places)

    async def find(self, queue: str, wanted: Filter) -> Found:
        """What fits.

        Raises:
            ProblemError: there is no such queue, or somebody reads it all the time.
            BrokerUnavailableError: the broker is away.
        """
        place = self._place(queue)
        whatever = replace(wanted, reasons=frozenset())
        fold = Fold()
        async with self._reading(place) as reading:
            bounded = Bounded(reading, LOOKING)
            async for held in bounded:
                if whatever.fits(held.letter):
                    fold.add(held.letter)
        lines = [line for line in fold if not wanted.reasons or line.reason in wanted.reasons]
        # What lies further back came later: where two were set aside in one second, it is newer.
        lines.reverse()
        newest = sorted(lines, key=lambda line: line.failed_at or 0, reverse=True)
        reasons = Counter(line.reason for line in fold)
        return Found(newest[:SHOWN], len(lines), dict(sorted(reasons.items())), bounded.complete)

    async def explain(self, queue: str, digest: str) -> dict[str, Any]:
        """All that there is to know of one letter, and each check on it.

        Raises:
            ProblemError: it is not there; or as `find`.
            BrokerUnavailableError: the broker is away.
            TrustUnavailableError: nothing can be judged at present.
        """
        place = self._place(queue)
        letter, copies = None, 0
        async with self._reading(place) as reading:
            async for held in Bounded(reading, LOOKING):
                if held.letter.digest == digest:
                    letter, copies = held.letter, copies + 1
        if letter is None:
            raise ProblemError(UNKNOWN_LETTER, "It may have been released or discarded meanwhile.")
        steps = self._judge(place).steps(letter, now=self._clock())
        return {
            **details_of(letter),
            "copies": copies,
            "checks": [step.as_json() for step in steps],
        }

    async def release(
        self,
        queue: str,
        digests: Sequence[str],
        access_token: AccessToken,
        *,
        lift_revocation: bool,
    ) -> bulk.Tally:
        """Have them taken after all, in the operator's name.

        Raises:
            ProblemError: as `find`.
            MessagingError: broken off; what was not done is still there.
        """
        place = self._place(queue)
        lift: tuple[Lift, ...] = LIFTS if lift_revocation else ("age", "expiry")
        desk = Desk(self._rpc, self._publisher, access_token)
        return await self._settle(place, digests, releasing(desk, place, lift))

    async def discard(
        self, queue: str, digests: Sequence[str], access_token: AccessToken
    ) -> bulk.Tally:
        """Take them away, in the operator's name.

        Raises:
            ProblemError, MessagingError: as `release`.
            TrustUnavailableError: nothing can be judged at present.
        """
        place = self._place(queue)
        desk = Desk(self._rpc, self._publisher, access_token)
        return await self._settle(place, digests, discarding(desk, place, self._judge(place)))

    async def _settle(self, place: Place, digests: Sequence[str], settle: Settle) -> bulk.Tally:
        wanted, seen = frozenset(digests), set[str]()

        def fits(letter: Letter) -> bool:
            digest = letter.digest
            if digest in wanted:
                seen.add(digest)
            return digest in wanted

        async with self._reading(place) as reading:
            bounded = Bounded(reading, ACTING)
            tally = await _first_fault(bulk.each(aiter(bounded), fits, settle))
        code = GONE if bounded.complete else NOT_REACHED
        for digest in sorted(wanted - seen):
            tally.refused[code] += 1
            if len(tally.refusals) < bulk.AT_ONCE:
                tally.refusals.append((f"sha256:{digest[:16]}", code))
        return tally

    def _place(self, queue: str) -> Place:
        if queue not in self._places:
            raise ProblemError(UNKNOWN_QUEUE, f"There are {', '.join(self._places)}.")
        return self._places[queue]

    def _judge(self, place: Place) -> Judge:
        return Judge(place, self._trust.key_set)

    @asynccontextmanager
    async def _reading(self, place: Place) -> AsyncIterator[Reading]:
        """A reading of its dead letters, once it is our turn."""
        turn = self._turns[place.queue.name]
        try:
            async with asyncio.timeout(PATIENCE):
                await turn.acquire()
        except TimeoutError as error:
            raise ProblemError(
                BEING_READ, "Another request has not finished with them.", headers=RETRY_AFTER
            ) from error
        try:
            dead = place.queue.dead
            async with Reading(self._broker.consuming, dead, window=WINDOW) as reading:
                yield reading
        finally:
            turn.release()


class Bounded:
    """The letters of a reading, so many and for so many seconds at most."""

    def __init__(self, reading: Reading, seconds: float) -> None:
        self._reading = reading
        self._until = time.monotonic() + seconds
        self._read = 0

    @property
    def complete(self) -> bool:
        """Whether they were all that lay there when it began; a command may hold some of them."""
        return self._read >= self._reading.total

    async def __aiter__(self) -> AsyncIterator[Held]:
        async for held in self._reading.letters():
            if self._read >= READ or time.monotonic() >= self._until:
                return
            self._read += 1
            yield held


async def _first_fault(work: Coroutine[Any, Any, T]) -> T:
    """Its result; of several faults at once, the first is raised."""
    try:
        return await work
    except* KNOWN_ERRORS as faults:
        fault: BaseException = faults
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    raise fault
