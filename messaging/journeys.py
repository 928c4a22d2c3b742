"""Journeys: what each check found on a message whose sender wants to see it travel.

A message is marked by a header, which no seal covers. So it is a hint and nothing else: what
becomes of a message never depends on it, and at most `RATE` reports leave in a second, however
many are marked. A message without it costs one look for the header.

A report is made once the message's outcome stands. Its verdicts are those of that outcome; its
times are of the same checks, made once more beside it, with a watch (`auth.stopwatch`). It says
what the two tokens claim, and never holds a token. Reports are live: one that cannot leave at once
is dropped.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self

import structlog

from auth.errors import CHECK_OF, Check, RefusalError, TrustUnavailableError
from auth.explain import DecodedToken, decode_unverified
from auth.message import AUTHORIZATION, BEARER, CARNET_SEAL, UnverifiedMessage, VerifiedMessage
from auth.stopwatch import Stopwatch, TimedVerifier
from auth.trust import TrustSource
from auth.verifier import Verifier
from messaging.delivery import Delivery
from messaging.inbox import subject_of
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.pause import first_of

JOURNEY: Final = "carnet-journey"
"""The header: `stream.message.published`, see `Mark`."""

RATE: Final = 20
"""Reports in a second, at most, of one consumer."""

WAITING: Final = 64
"""Reports that wait to leave, at most."""

MAX_SAID: Final = 4096
"""Characters of a token that is decoded for a report; a longer one is left out."""

MARK: Final = r"([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{1,36})\.([0-9]{1,15})"
"""Its form: stream, message, published."""

_MARK: Final = re.compile(MARK)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """Who wants to see which message travel.

    stream: 128 random bits that only who watches knows, in base64url: the reports' address.
    message: what the sender calls the message.
    published_ms: when it was published, by the publisher's clock, in ms since the epoch.
    """

    stream: str
    message: str
    published_ms: int

    @classmethod
    def read(cls, value: object) -> Self | None:
        """What a header says; None where it is no mark."""
        found = _MARK.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return None
        return cls(found[1], found[2], int(found[3]))

    def __str__(self) -> str:
        return f"{self.stream}.{self.message}.{self.published_ms}"


@dataclass(frozen=True, slots=True)
class Step:
    """One check: its verdict, and the seconds that it takes, where it is known."""

    check: Check
    verdict: Literal["passed", "refused", "not reached"]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a marked message, and why.

    subject: whose message it is, where carnet and seal are genuine; else None.
    carnet, seal: what they say, where they can be read at all.
    arrived_ms, settled_ms: by our clock, in ms since the epoch.
    """

    mark: Mark
    type: str
    queue: str
    subject: str | None
    outcome: Outcome
    steps: tuple[Step, ...]
    carnet: DecodedToken | None
    seal: DecodedToken | None
    arrived_ms: int
    settled_ms: int


class Judge(Protocol):
    """What a verifier says of a message, by the rules of its handler (`CommandConsumer.judge`)."""

    def __call__(
        self, message: UnverifiedMessage, verifier: Verifier, *, now: float
    ) -> VerifiedMessage: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    mark: Mark
    delivery: Delivery
    outcome: Outcome
    waited: float
    settled_at: float


class Journeys:
    """Reports on the marked messages of one consumer."""

    def __init__(
        self,
        trust: TrustSource,
        *,
        service: str,
        judge: Judge,
        tell: Callable[[Report], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """`tell`: sends a report; what it raises is logged, and the report is lost."""
        self._trust = trust
        self._service = service
        self._judge = judge
        self._tell = tell
        self._clock = clock
        self._seen: asyncio.Queue[_Seen] = asyncio.Queue(WAITING)
        self._second = 0
        self._told = 0
        self.dropped = 0
        """Reports that were not made: too many at once."""

    def settled(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery's outcome stands. Returns at once, and raises nothing."""
        if JOURNEY not in delivery.headers:
            return
        mark = Mark.read(delivery.headers[JOURNEY])
        if mark is None:
            return
        now = self._clock()
        if not self._may_tell(now) or self._seen.full():
            self.dropped += 1
            return
        self._seen.put_nowait(_Seen(mark, delivery, outcome, delivery.waited, now))

    async def run(self, shutdown: asyncio.Event) -> None:
        """Report until `shutdown`."""
        while not shutdown.is_set():
            following = asyncio.ensure_future(self._seen.get())
            ended = asyncio.ensure_future(first_of(shutdown, timeout=None))
            await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if not following.done():
                following.cancel()
                return
            await self._report(following.result())

    async def _report(self, seen: _Seen) -> None:
        try:
            report = self._observe(seen)
            await self._tell(report)
        except TrustUnavailableError:
            self.dropped += 1
        except Exception as error:  # noqa: BLE001 - nobody depends on a report
            log.info("journey_not_told", detail=type(error).__name__)

    def _observe(self, seen: _Seen) -> Report:
        watch = Stopwatch(time.perf_counter)
        verifier = TimedVerifier(self._trust, audience=self._service, watch=watch)
        delivery = seen.delivery
        genuine: VerifiedMessage | None
        try:
            genuine = self._judge(delivery.unverified(), verifier, now=seen.settled_at)
        except RefusalError as refusal:
            genuine = refusal.authenticated
        return Report(
            mark=seen.mark,
            type=(delivery.type or "")[:100],
            queue=delivery.registration.queue,
            subject=None if genuine is None else subject_of(genuine),
            outcome=seen.outcome,
            steps=tuple(steps_of(seen.outcome, watch)),
            carnet=_said(delivery.headers.get(AUTHORIZATION), BEARER),
            seal=_said(delivery.headers.get(CARNET_SEAL)),
            arrived_ms=int((seen.settled_at - seen.waited) * 1000),
            settled_ms=int(seen.settled_at * 1000),
        )

    def _may_tell(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._told = int(now), 0
        self._told += 1
        return self._told <= RATE


def steps_of(outcome: Outcome, watch: Stopwatch) -> list[Step]:
    """Each check with what the outcome says of it, and its time."""
    failed = CHECK_OF.get(outcome.code) if isinstance(outcome, DeadLetter) else None
    if failed is None:
        return [Step(check, "passed", watch.seconds.get(check)) for check in Check]
    return [
        Step(check, "refused", watch.seconds.get(check))
        if check == failed
        else Step(check, "passed", watch.seconds.get(check))
        if check < failed
        else Step(check, "not reached", None)
        for check in Check
    ]


def name_of(outcome: Outcome) -> Literal["done", "retried", "refused"]:
    """An outcome in one word."""
    match outcome:
        case Ack():
            return "done"
        case Retry():
            return "retried"
        case DeadLetter():
            return "refused"


def _said(header: Any, prefix: str = "") -> DecodedToken | None:
    if not isinstance(header, str) or len(header) > MAX_SAID or not header.startswith(prefix):
        return None
    try:
        return decode_unverified(header.removeprefix(prefix))
    except (RefusalError, ValueError):
        return None
