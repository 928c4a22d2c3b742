"""Attempts: who fails too often waits, ever longer; but the owner comes in.

| counted | for | waits after |
|---|---|---|
| an account, from where it has signed in before | that account, from there | 5 failures |
| an account, from anywhere else | that account, from anywhere else | 5 failures |
| an origin | all sign-ins from there, but those of accounts that have signed in there before | 20 |
| an origin | user codes of devices (`services.users.devices`) from there | 20 wrong ones |

So nobody locks an owner out by failing on purpose elsewhere, nor by failing at other accounts in
the same place. The first wait is 1 s; each doubles, up to 15 min; 24 h without a failure and all
is forgotten. What is tried during a wait is not counted and does not prolong it.

User codes are nobody's account, and there are 20 ** 8: their waits grow to a minute alone, since
all in one place share them, also with who types wrong ones on purpose.

It is decided after the password was checked, and in the transaction that counts: of a thousand
guesses at once no more than are free are looked at, and a right one among the others is refused as
a wrong one is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from sqlalchemy import case, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from messaging.database import Database
from messaging.upsert import insert_into
from services.users.pseudonyms import Pseudonyms
from services.users.store import Attempts as Row
from services.users.store import KnownOrigin, table_of

FREE_OF_AN_ACCOUNT: Final = 5
FREE_OF_AN_ORIGIN: Final = 20
FIRST_WAIT: Final = 1
LONGEST_WAIT: Final = 15 * 60
FREE_GUESSES: Final = 20
LONGEST_WAIT_TO_GUESS: Final = 60
"""Seconds: 1440 guesses a day."""
FORGOTTEN: Final = 24 * 3600
KNOWN_FOR: Final = 30 * 24 * 3600
WINDOW: Final = 3600
"""Seconds: of registrations, so many in each of these are allowed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """lockout: whether failed sign-ins are counted at all.

    registrations: in an hour, from one origin; 0 for any number.
    """

    lockout: bool = True
    registrations: int = 100


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in: at which name, of which account if any, from where if known (a pseudonym)."""

    name: str
    sub: str | None
    origin: str | None


class Verdict(Enum):
    """What becomes of a sign-in. Only the first is told from the others."""

    ADMITTED = auto()
    WRONG = auto()
    LOCKED = auto()


class Attempts:
    def __init__(
        self,
        database: Database,
        pseudonyms: Pseudonyms,
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self._database = database
        self._pseudonyms = pseudonyms
        self._clock = clock
        self._limits = limits

    async def judge(self, work: AsyncSession, attempt: Attempt, *, genuine: bool) -> Verdict:
        """Whether it may be told that name and password are right, which `genuine` says.

        Counts a failure; a success is the end of those at that account from there. The caller
        holds the account's row, so that attempts at one account are judged one by one.
        """
        if not self._limits.lockout:
            return Verdict.ADMITTED if genuine else Verdict.WRONG
        counted = await self._counted(work, attempt)
        if await self._waits(work, counted):
            return Verdict.LOCKED
        if not genuine:
            for key in counted:
                await self._count(work, key.digest)
            return Verdict.WRONG
        await self._remember(work, attempt, counted[0].digest)
        return Verdict.ADMITTED

    async def wait_to_register(self, work: AsyncSession, origin: str | None) -> int:
        """Seconds until one more account may be made from there, 0 for now; counts the attempt.

        What is tried meanwhile does not prolong it.
        """
        return await self.wait_for(work, "register", origin, most=self._limits.registrations)

    async def guess(
        self, work: AsyncSession, kind: str, origin: str | None, *, right: bool
    ) -> bool:
        """Whether it may be told that a guess is right; a wrong one counts.

        Guesses from where nothing is known count as from one place.
        """
        if not self._limits.lockout:
            return right
        digest = await self._pseudonyms.of(work, kind, origin or "")
        await self._hold(work, digest)
        counted = _Counted(digest, FREE_GUESSES, longest=LONGEST_WAIT_TO_GUESS)
        if await self._waits(work, [counted]):
            return False
        if not right:
            await self._count(work, digest)
        return right

    async def wait_for(
        self, work: AsyncSession, kind: str, origin: str | None, *, most: int
    ) -> int:
        """Seconds until there may be one more of a kind from there, 0 for now; counts it.

        most: in an hour; 0 for any number. What is tried meanwhile does not prolong it.
        """
        if origin is None or most == 0:
            return 0
        digest = await self._pseudonyms.of(work, kind, origin)
        now = int(self._clock())
        row = table_of(Row).c
        over = row.since <= now - WINDOW
        insert = insert_into(work, table_of(Row)).values(
            counted=digest, count=1, since=now, last_at=now
        )
        upsert = insert.on_conflict_do_update(
            index_elements=[row.counted],
            set_={
                "count": case((over, 1), else_=row.count + 1),
                "since": case((over, now), else_=row.since),
                "last_at": now,
            },
        )
        count, since = (await work.execute(upsert.returning(row.count, row.since))).one()
        return 0 if count <= most else int(since) + WINDOW - now

    async def prune(self) -> None:
        """Forget what is long ago."""
        now = int(self._clock())
        async with self._database.transaction() as work:
            await work.execute(delete(Row).where(Row.last_at < now - FORGOTTEN))
            await work.execute(delete(KnownOrigin).where(KnownOrigin.at < now - KNOWN_FOR))

    async def _counted(self, work: AsyncSession, attempt: Attempt) -> "list[_Counted]":
        """By what the attempt is measured, its own counter first."""
        of = self._pseudonyms.of
        if attempt.origin is None:
            return [_Counted(await of(work, "account", attempt.name), FREE_OF_AN_ACCOUNT)]
        from_there = _Counted(await of(work, "origin", attempt.origin), FREE_OF_AN_ORIGIN)
        if await self._is_known(work, attempt):
            own = await of(work, "account", attempt.name, attempt.origin)
            return [
                _Counted(own, FREE_OF_AN_ACCOUNT),
                _Counted(from_there.digest, FREE_OF_AN_ORIGIN, measures=False),
            ]
        return [_Counted(await of(work, "account", attempt.name), FREE_OF_AN_ACCOUNT), from_there]

    async def _is_known(self, work: AsyncSession, attempt: Attempt) -> bool:
        known = select(KnownOrigin.at).where(
            KnownOrigin.sub == attempt.sub,
            KnownOrigin.origin == attempt.origin,
            KnownOrigin.at >= int(self._clock()) - KNOWN_FOR,
        )
        return await work.scalar(known) is not None

    async def _waits(self, work: AsyncSession, counted: "list[_Counted]") -> bool:
        now = self._clock()
        keys = {key.digest: key for key in counted if key.measures}
        rows = await work.scalars(select(Row).where(Row.counted.in_(keys)))
        return any(now < keys[row.counted].ends(row.count, row.last_at) for row in rows)

    async def _count(self, work: AsyncSession, digest: str) -> None:
        now = math.ceil(self._clock())
        row = table_of(Row).c
        insert = insert_into(work, table_of(Row)).values(
            counted=digest, count=1, since=now, last_at=now
        )
        forgotten = row.last_at < now - FORGOTTEN
        await work.execute(
            insert.on_conflict_do_update(
                index_elements=[row.counted],
                set_={
                    "count": case((forgotten, 1), else_=row.count + 1),
                    "last_at": now,
                },
            )
        )

    async def _hold(self, work: AsyncSession, digest: str) -> None:
        """Have others who count here wait until the transaction ends: they are judged one by one.

        Otherwise a thousand guesses at once would all be the first one.
        """
        now = math.ceil(self._clock())
        row = table_of(Row).c
        insert = insert_into(work, table_of(Row)).values(
            counted=digest, count=0, since=now, last_at=now
        )
        await work.execute(
            insert.on_conflict_do_update(index_elements=[row.counted], set_={"count": row.count})
        )

    async def _remember(self, work: AsyncSession, attempt: Attempt, digest: str) -> None:
        await work.execute(delete(Row).where(Row.counted == digest))
        if attempt.sub is None or attempt.origin is None:
            return
        now = int(self._clock())
        known = table_of(KnownOrigin)
        insert = insert_into(work, known).values(sub=attempt.sub, origin=attempt.origin, at=now)
        await work.execute(
            insert.on_conflict_do_update(
                index_elements=[known.c.sub, known.c.origin], set_={"at": now}
            )
        )


@dataclass(frozen=True, slots=True)
class _Counted:
    digest: str
    free: int
    measures: bool = True
    longest: int = LONGEST_WAIT

    def ends(self, count: int, last_at: int) -> int:
        """When the wait after the last of `count` failures, at `last_at`, ends; 0 for no wait."""
        return ends(count, self.free, last_at, longest=self.longest)


def ends(count: int, free: int, last_at: int, *, longest: int = LONGEST_WAIT) -> int:
    """When the wait after the last of `count` failures, at `last_at`, ends; 0 for no wait."""
    if count < free:
        return 0
    doublings = min(count - free, longest.bit_length())
    return last_at + min(FIRST_WAIT << doublings, longest)
