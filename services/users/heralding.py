"""Heralding: what the issuer has ended, and which key set holds, is told to everybody at once.

Each replica tells what it has committed itself, as soon as it is. One of them, the leader, also
tells what others have (an operator's command, a replica that died before it could), beats every
two seconds, and repeats the key set statement for those who have missed it. Where many wait to be
told, the leader tells them in one statement. All of it may be told twice, and is signed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from auth import statements
from auth.errors import TrustUnavailableError
from auth.feed import MAX_SILENCE
from auth.jws import KEY_SET
from auth.message import Route
from auth.statements import MAX_PAGE, Revocation
from messaging.envelope import JOSE, Envelope
from messaging.errors import (
    BrokerUnavailableError,
    DatabaseUnavailableError,
    PublishError,
    UnroutableError,
)
from messaging.pause import Backoff, first_of
from messaging.publisher import Publisher
from messaging.topology import TRUST
from messaging.trust import BEAT
from services.users.leadership import Leadership
from services.users.revocations import Revocations
from services.users.statements import Statements
from services.users.trust import IssuerTrust

POLL: Final = 0.2
"""Seconds between the leader's looks for what others have revoked."""

TRY: Final = 1.0
"""Seconds between two tries to lead."""

REPEAT: Final = 30.0
"""Seconds between two announcements of the key set statement."""

AT_ONCE: Final = 100
"""Revocations that are on their way to the broker at once."""

FEW: Final = 10
"""Revocations that are told one by one, at most. A thousand relying parties have a thousand copies
of each, behind which the next heartbeat waits; a page of many costs hardly more than one."""

DEADLINE: Final = 5.0
"""Seconds for the broker to take a statement."""

_FAULTS: Final = (
    BrokerUnavailableError,
    PublishError,
    DatabaseUnavailableError,
    TrustUnavailableError,
)

log = structlog.get_logger(__name__)


class Heralding:
    def __init__(
        self,
        *,
        statements: Statements,
        revocations: Revocations,
        trust: IssuerTrust,
        publisher: Publisher,
        leadership: Leadership,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statements = statements
        self._revocations = revocations
        self._trust = trust
        self._publisher = publisher
        self._leadership = leadership
        self._ticks = ticks
        self._own: deque[Revocation] = deque()
        self._committed = asyncio.Event()
        self._told: int | None = None  # up to which all are told; None where we do not lead
        self._told_ahead: set[int] = set()
        self._telling = asyncio.Lock()
        """What is on its way is told by nobody else, however slow the broker is."""
        self._beat_at = -BEAT
        revocations.on_commit(self._note)

    @property
    def leads(self) -> bool:
        """Whether this replica is the one that beats."""
        return self._told is not None

    @property
    def ready(self) -> bool:
        """Whether the feed is kept alive, as far as that is for this replica to do."""
        return not self.leads or self._ticks() - self._beat_at < MAX_SILENCE

    async def run(self, shutdown: asyncio.Event) -> None:
        """Tell until `shutdown`, and then what was committed up to there."""
        async with asyncio.TaskGroup() as running:
            running.create_task(self._tell_own(shutdown), name="own revocations")
            running.create_task(self._tell_key_sets(shutdown), name="key sets")
            running.create_task(self._lead(shutdown), name="leadership")

    def _note(self, revoked: Revocation) -> None:
        self._own.append(revoked)
        self._committed.set()

    async def _tell_own(self, shutdown: asyncio.Event) -> None:
        while True:
            stop = shutdown.is_set()  # asked first: what is committed before is told yet
            self._committed.clear()
            async with self._telling:
                await self._tell_what_is_own(all_of_it=stop)
            if stop:
                return
            await first_of(self._committed, shutdown, timeout=None)

    async def _tell_what_is_own(self, *, all_of_it: bool) -> None:
        # What came before while the leader had its turn, it has told.
        own = [revoked for revoked in self._own if revoked.seq > (self._told or 0)]
        self._own.clear()
        many = len(own) > FEW and not all_of_it
        if many and not self.leads:
            return  # the leader, which looks for what others have ended, tells them in one
        try:
            if many:
                await self._tell_others()
                return
            await self._tell(own)
        except _FAULTS as error:
            # The leader will tell them; or the next one, or a snapshot.
            log.warning("revocations_not_told", code=error.code, detail=error.detail)
        else:
            if self.leads:
                self._told_ahead.update(revoked.seq for revoked in own)

    async def _tell_key_sets(self, shutdown: asyncio.Event) -> None:
        backoff = Backoff()
        while not shutdown.is_set():
            changed = await first_of(self._trust.changed, shutdown, timeout=REPEAT)
            if shutdown.is_set() or not (changed or self.leads):
                continue
            self._trust.changed.clear()
            try:
                await self._publish(self._trust.key_set.statement, KEY_SET)
            except _FAULTS as error:
                log.warning("key_set_not_told", code=error.code, detail=error.detail)
                self._trust.changed.set()
                await backoff.pause(shutdown)
            else:
                backoff.reset()

    async def _lead(self, shutdown: asyncio.Event) -> None:
        backoff = Backoff()
        try:
            while not shutdown.is_set():
                try:
                    pause = await self._reign()
                except _FAULTS as error:
                    log.warning("feed_interrupted", code=error.code, detail=error.detail)
                    await backoff.pause(shutdown)
                else:
                    backoff.reset()
                    await first_of(shutdown, timeout=pause)
        finally:
            self._told = None
            await self._leadership.release()

    async def _reign(self) -> float:
        """One round of the leader, or one try to be it; the seconds until the next."""
        due = self._ticks() - self._beat_at >= BEAT
        if (due or not self.leads) and not await self._hold():
            return TRY
        async with self._telling:
            told = await self._tell_others()
        if due:
            await self._publish(await self._statements.heartbeat(told), statements.HEARTBEAT)
            self._beat_at = self._ticks()
        return POLL

    async def _hold(self) -> bool:
        try:
            held = await self._leadership.hold()
        except DatabaseUnavailableError:
            self._told = None
            raise
        if not held:
            self._told = None
        elif self._told is None:
            # How far our predecessor came is not known: the last ones are told again, before
            # the first heartbeat makes anybody judge without them.
            self._told = max(0, await self._revocations.latest() - MAX_PAGE)
            self._told_ahead.clear()
            log.info("feed_led")
        return held

    async def _tell_others(self) -> int:
        """Tell what was committed elsewhere; the number up to which all is told."""
        told = self._told or 0
        while True:
            page = await self._revocations.page(told)
            untold = [r for r in page.entries if r.seq not in self._told_ahead]
            if len(untold) > FEW:
                await self._publish(await self._statements.page(page), statements.SNAPSHOT)
            else:
                await self._tell(untold)
            if self._told is None:
                return told  # another one leads meanwhile, and tells them again
            told = self._told = page.upto
            self._told_ahead = {seq for seq in self._told_ahead if seq > told}
            if page.upto == page.seq:
                return told

    async def _tell(self, revocations: Sequence[Revocation]) -> None:
        for start in range(0, len(revocations), AT_ONCE):
            batch = revocations[start : start + AT_ONCE]
            results = await asyncio.gather(*map(self._tell_one, batch), return_exceptions=True)
            for fault in filter(None, results):
                raise fault

    async def _tell_one(self, revoked: Revocation) -> None:
        await self._publish(await self._statements.revocation(revoked), statements.REVOCATION)

    async def _publish(self, statement: str, typ: str) -> None:
        envelope = Envelope(
            route=Route(TRUST.name, "", typ),
            body=statement.encode("ascii"),
            content_type=JOSE,
            persistent=False,
        )
        try:
            await self._publisher.publish(envelope, deadline=DEADLINE)
        except UnroutableError:
            log.debug("feed_unheard", type=typ)  # nobody listens just now
