"""The trust feed on the wire: what relying parties hear, fetch, and judge by.

`auth.feed` decides what counts; this keeps it supplied. It listens on `carnet.trust`, asks the
user service for what is missing (at first, after each loss of the connection, and where a gap or
a newer key set was announced), one question at a time and with jitter, and prunes.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from auth.errors import KeySetError, RefusalError, TrustUnavailableError
from auth.feed import Feed
from auth.keyset import KeySet
from auth.revocation import RevocationList
from auth.statements import Revocation
from messaging.broker import Broker
from messaging.delivery import Delivery
from messaging.errors import MessagingError
from messaging.pause import Backoff, first_of
from messaging.serving import serve
from messaging.subscription import Subscription, listening_queue
from messaging.topology import TRUST
from messaging.trust_telemetry import TrustTelemetry

BEAT: Final = 2.0
"""Seconds between two heartbeats of the issuer's."""

PREFETCH: Final = 1000
DRAIN: Final = 1.0
LOOK: Final = 0.25
"""Seconds between looks at what is missing."""

COOLDOWN: Final = 1.0
"""Seconds between two questions: a storm of announcements costs the issuer one a second."""

JITTER: Final = 0.2
"""Most seconds to wait before a question, so that a thousand parties do not ask at once."""

PRUNE: Final = 60.0

_RANDOM: Final = secrets.SystemRandom()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TrustSupply:
    """Where what is missing is asked for; each answer is signed and need not be believed.

    snapshot: the page of revocations after a number.   key_set: the newest statement.
    keep: stores a key set that was adopted, so that a restart begins with it.
    """

    snapshot: Callable[[int], Awaitable[str]]
    key_set: Callable[[], Awaitable[str]]
    keep: Callable[[KeySet], None]


class LiveTrust:
    """A `TrustSource` that follows the issuer for as long as `run` runs."""

    def __init__(
        self,
        feed: Feed,
        *,
        broker: Broker,
        client_id: str,
        clock: Callable[[], float],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds since the epoch.   ticks: a clock that nobody sets."""
        self._feed = feed
        self._clock = clock
        self._ticks = ticks
        self._wanted = asyncio.Event()
        self._fresh = asyncio.Event()
        self._subscription = Subscription(
            broker,
            listening_queue(f"carnet.{client_id}.trust", TRUST, [""]),
            prefetch=PREFETCH,
            on_registered=self._listening,
        )
        self._telemetry = TrustTelemetry(
            broker.telemetry.metrics, feed, fresh=lambda: self.fresh, clock=clock, ticks=ticks
        )
        self.counts: Counter[str] = Counter()
        """Statements taken in (`heard`), questions asked (`asked`), and codes of refusals."""

    def _count(self, result: str) -> None:
        self.counts[result] += 1
        self._telemetry.count(result)

    @property
    def key_set(self) -> KeySet:
        return self._feed.key_set

    @property
    def revocations(self) -> RevocationList:
        return self._feed.revocations

    def on_revoked(self, listener: Callable[[Revocation], None]) -> None:
        """Have each revocation told to `listener` once it is in force, as `Feed.on_revoked` says.

        For what a relying party holds besides tokens: open streams, connections, caches.
        """
        self._feed.on_revoked(listener)

    @property
    def fresh(self) -> bool:
        """Whether anything may be judged now."""
        try:
            self.require_fresh(self._clock())
        except TrustUnavailableError:
            return False
        return True

    def require_fresh(self, now: float) -> None:
        """Raise unless what is held may be judged by.

        Raises:
            TrustUnavailableError: silence, or something is missing.
        """
        self._feed.require_fresh(now, self._ticks())

    async def wait_until_fresh(self, deadline: float) -> None:
        """Wait until something may be judged, `deadline` seconds at most.

        Raises:
            TrustUnavailableError: not in that time, and why.
        """
        try:
            async with asyncio.timeout(deadline):
                while not self.fresh:
                    self._fresh.clear()
                    await self._fresh.wait()
        except TimeoutError:
            self.require_fresh(self._clock())

    async def run(self, supply: TrustSupply, shutdown: asyncio.Event) -> None:
        """Follow the issuer until `shutdown`."""
        async with asyncio.TaskGroup() as running:
            running.create_task(self._listen(supply, shutdown), name="trust feed")
            running.create_task(self._complete(supply, shutdown), name="trust supply")
            running.create_task(self._prune(shutdown), name="trust pruning")

    def _listening(self) -> None:
        # Only now: what is told from here on is heard, so a question loses nothing.
        self._feed.lose_track(self._ticks())
        self._wanted.set()

    async def _listen(self, supply: TrustSupply, shutdown: asyncio.Event) -> None:
        async def handle(delivery: Delivery) -> None:
            self._hear(delivery.body, supply)
            await delivery.ack()

        await serve(self._subscription, handle, concurrency=1, drain=DRAIN, shutdown=shutdown)

    def _hear(self, unverified_body: bytes, supply: TrustSupply) -> None:
        held = self._feed.key_set
        try:
            self._feed.hear(unverified_body.decode("ascii"), now=self._clock(), ticks=self._ticks())
        except UnicodeDecodeError:
            self._count("malformed_token")
        except (RefusalError, KeySetError) as error:
            self._count(error.code)
            log.warning("trust_statement_refused", code=error.code, detail=error.detail)
        else:
            self._count("heard")
            self._keep_if_newer(held, supply)
            self._fresh.set()
            if self._feed.wanted(self._ticks()):
                self._wanted.set()

    async def _complete(self, supply: TrustSupply, shutdown: asyncio.Event) -> None:
        backoff = Backoff()
        while not shutdown.is_set():
            if not self._subscription.ready or not self._feed.wanted(self._ticks()):
                self._wanted.clear()
                await first_of(self._wanted, shutdown, timeout=LOOK)
                continue
            await first_of(shutdown, timeout=_RANDOM.uniform(0, JITTER))
            try:
                await self._ask(supply)
            except (MessagingError, RefusalError, KeySetError) as error:
                self._count(error.code)
                log.warning("trust_not_supplied", code=error.code, detail=error.detail)
                await backoff.pause(shutdown)
            else:
                backoff.reset()
                await first_of(shutdown, timeout=COOLDOWN)

    async def _ask(self, supply: TrustSupply) -> None:
        """Ask for all that is missing, page by page."""
        self._count("asked")
        if self._feed.wanted(self._ticks()).key_set:
            held = self._feed.key_set
            statement = await supply.key_set()
            self._feed.adopt(statement, now=self._clock(), ticks=self._ticks())
            self._keep_if_newer(held, supply)
        after = self._feed.wanted(self._ticks()).revocations
        while after is not None:
            now, ticks = self._clock(), self._ticks()
            page = await supply.snapshot(after)
            more = self._feed.take_snapshot(page, now=now, ticks=ticks)
            after = self._feed.applied if more else None
        self._fresh.set()

    def _keep_if_newer(self, held: KeySet, supply: TrustSupply) -> None:
        if self._feed.key_set is not held:
            log.info("key_set_adopted", version=self._feed.key_set.version)
            supply.keep(self._feed.key_set)

    async def _prune(self, shutdown: asyncio.Event) -> None:
        while not await first_of(shutdown, timeout=PRUNE):
            self._feed.revocations.prune(self._clock())
