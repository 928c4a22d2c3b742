"""Revocations: what is ended before its time, kept until nothing is left that it could hit."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, event, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import LEEWAY
from auth.statements import MAX_PAGE, Revocation
from auth.tokens import MAX_ACCESS_LIFE
from messaging.database import Database
from services.contracts.orders import PATIENCE
from services.users.store import Feed, Revoked

REACH: Final = MAX_ACCESS_LIFE + int(PATIENCE.total_seconds()) + 2 * LEEWAY
"""Seconds after which nothing is left that a revocation could hit.

An access token that was issued in the last moment, by a replica whose clock is ahead, gives a
carnet in its last second; with that, work is accepted in the carnet's last second, and waits for
as long as any handler lets work wait.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """Revocations with a number above `after`, all up to `upto`; `seq` is the latest there is."""

    after: int
    upto: int
    seq: int
    entries: list[Revocation]


class Revocations:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._tell: Callable[[Revocation], None] | None = None

    def on_commit(self, tell: Callable[[Revocation], None]) -> None:
        """Call `tell` with each revocation of this process as soon as it is committed."""
        self._tell = tell

    async def revoke_session(self, work: AsyncSession, sid: str, why: str) -> None:
        """Void every token of a session, once `work` is committed."""
        await self._add(work, why, sid=sid)

    async def revoke_subject(self, work: AsyncSession, sub: str, epoch: int, why: str) -> None:
        """Void a subject's tokens of an epoch below `epoch`, once `work` is committed."""
        await self._add(work, why, sub=sub, epoch=epoch)

    async def page(self, after: int) -> Page:
        """A page of what is in force, from the database.

        A number that was never given comes from a feed that is no more: that party gets all.
        """
        async with self._database.session() as work:
            seq = await _latest(work)
            after = after if after <= seq else 0
            if after == seq:
                return Page(after=after, upto=seq, seq=seq, entries=[])
            found = await work.scalars(
                select(Revoked)
                .where(Revoked.seq > after, Revoked.seq <= seq, Revoked.until > int(self._clock()))
                .order_by(Revoked.seq)
                .limit(MAX_PAGE)
            )
            entries = [_revocation(row) for row in found]
        full = len(entries) == MAX_PAGE
        return Page(after=after, upto=entries[-1].seq if full else seq, seq=seq, entries=entries)

    async def feed(self) -> str:
        """The feed's id."""
        async with self._database.session() as work:
            return (await work.scalars(select(Feed.id))).one()

    async def renew_feed(self, work: AsyncSession) -> str:
        """Give the feed another id, and return it: relying parties take everything anew.

        For a database that was set back to a backup, whose numbers they have heard before. A
        running user service goes on under the old id until it is restarted.
        """
        feed = secrets.token_urlsafe(16)
        await work.execute(update(Feed).values(id=feed))
        return feed

    async def latest(self) -> int:
        """The number of the latest revocation."""
        async with self._database.session() as work:
            return await _latest(work)

    async def prune(self) -> None:
        """Forget what can hit nothing any more."""
        async with self._database.transaction() as work:
            await work.execute(delete(Revoked).where(Revoked.until <= int(self._clock())))

    async def _add(
        self,
        work: AsyncSession,
        why: str,
        *,
        sid: str | None = None,
        sub: str | None = None,
        epoch: int | None = None,
    ) -> None:
        now = int(self._clock())
        count = update(Feed).values(seq=Feed.seq + 1).returning(Feed.seq)
        seq = (await work.scalars(count, execution_options={"synchronize_session": False})).one()
        row = Revoked(seq=seq, sid=sid, sub=sub, epoch=epoch, until=now + REACH, at=now, why=why)
        work.add(row)
        if self._tell is not None:
            tell, revoked = self._tell, _revocation(row)
            event.listen(work.sync_session, "after_commit", lambda _: tell(revoked), once=True)


async def _latest(work: AsyncSession) -> int:
    return (await work.scalars(select(Feed.seq))).one()


def _revocation(row: Revoked) -> Revocation:
    return Revocation(seq=row.seq, until=row.until, sid=row.sid, sub=row.sub, epoch=row.epoch)
