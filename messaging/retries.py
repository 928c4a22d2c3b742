"""What waits for another try, in the service's own database: how often, and who waits behind it.

Headers can be forged and the broker counts deliveries, not attempts; so the counts are kept
here, by the verified id of the message.

attempts: times that its handler failed.
starts: processes that started it and ended neither it nor themselves in order. The start of a
first delivery is not written down: it is taken for granted once the message is redelivered.
about, stays_ahead, since: what it is about, whether those that come later and are about the same
wait behind it, and since when (milliseconds since the epoch). Not for ever: `until`.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    String,
    Table,
    case,
    delete,
    exists,
    false,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import LEEWAY
from auth.message import VerifiedMessage
from messaging.upsert import insert_into

CRASHES: Final = 5
"""Starts without an end after which a message is poison."""


def retries_table(metadata: MetaData) -> Table:
    """Add the table to a service's own: one row for each message that waits or may crash."""
    return Table(
        "retries",
        metadata,
        Column("iss", String(64), primary_key=True),
        Column("jti", String(64), primary_key=True),
        Column("attempts", Integer, nullable=False),
        Column("starts", Integer, nullable=False, server_default="0"),
        Column("started_by", String(32)),
        Column("about", String(200), index=True),
        Column("stays_ahead", Boolean, nullable=False, server_default=false()),
        Column("since", BigInteger, nullable=False, server_default="0"),
        Column("until", BigInteger, nullable=False, server_default="0"),
        Column("at", BigInteger, nullable=False, index=True),
    )


async def count_attempt(
    session: AsyncSession,
    retries: Table,
    message: VerifiedMessage,
    *,
    about: str | None,
    stays_ahead: bool,
    now: float,
) -> int:
    """Count one more failed attempt; the number there have been now. It is no crash."""
    attempts, _ = await _wait(
        session, retries, message, 1, about=about, stays_ahead=stays_ahead, now=now
    )
    return attempts


async def line_up(
    session: AsyncSession,
    retries: Table,
    message: VerifiedMessage,
    *,
    about: str | None,
    now: float,
) -> float:
    """Wait behind those that are ahead, and ahead of those to come; since when it does."""
    _, since = await _wait(session, retries, message, 0, about=about, stays_ahead=True, now=now)
    return since


def somebody_ahead(
    retries: Table, message: VerifiedMessage, *, about: str, now: float
) -> ColumnElement[bool]:
    """Whether another message is about the same and waits for longer.

    Who does not stay ahead itself (it is new, or waits for something to happen) comes after all
    who do. So there is one line, and nobody in it waits for somebody behind.
    """
    seal = message.seal
    other, own = retries.alias("other"), retries.alias("own")
    own_place = exists().where(
        own.c.iss == seal.iss,
        own.c.jti == seal.jti,
        own.c.stays_ahead,
        tuple_(own.c.since, own.c.iss, own.c.jti) < tuple_(other.c.since, other.c.iss, other.c.jti),
    )
    return (
        select(other.c.jti)
        .where(
            other.c.about == about,
            other.c.stays_ahead,
            other.c.until >= int(now),
            tuple_(other.c.iss, other.c.jti) != tuple_(seal.iss, seal.jti),
            ~own_place,
        )
        .exists()
    )


async def things_with_somebody_ahead(
    session: AsyncSession, retries: Table, things: Collection[str], *, now: float
) -> set[str]:
    """Of these, what a message that waits is about: who comes now comes after it."""
    ahead = select(retries.c.about).where(
        retries.c.about.in_(things), retries.c.stays_ahead, retries.c.until >= int(now)
    )
    return set((await session.scalars(ahead)).all()) if things else set()


async def _wait(
    session: AsyncSession,
    retries: Table,
    message: VerifiedMessage,
    attempts: int,
    *,
    about: str | None,
    stays_ahead: bool,
    now: float,
) -> tuple[int, float]:
    """Write down that it waits after so many more attempts; all of them, and since when."""
    seal, release = message.seal, message.release
    waiting = {
        "about": about,
        "stays_ahead": stays_ahead and about is not None,
        # After that it is refused, whenever it comes: it holds up nobody any more.
        "until": (seal.exp if release is None else max(seal.exp, release.exp)) + LEEWAY,
        "at": int(now),
    }
    insert = insert_into(session, retries).values(
        iss=seal.iss, jti=seal.jti, attempts=attempts, since=int(now * 1000), **waiting
    )
    waits = insert.on_conflict_do_update(
        index_elements=[retries.c.iss, retries.c.jti],
        set_={
            "attempts": retries.c.attempts + attempts,
            "starts": 0,
            "started_by": None,
            "since": case((retries.c.stays_ahead, retries.c.since), else_=int(now * 1000)),
            **waiting,
        },
    )
    result = await session.execute(waits.returning(retries.c.attempts, retries.c.since))
    row = result.one()
    return row.attempts, row.since / 1000


async def count_start(
    session: AsyncSession, retries: Table, message: VerifiedMessage, *, process: str, now: float
) -> int:
    """Count the start of a redelivered message; the crashes there have been before it.

    However often one process starts it, that is one start: it has not crashed in between.
    """
    seal = message.seal
    insert = insert_into(session, retries).values(
        iss=seal.iss, jti=seal.jti, attempts=0, starts=1, started_by=process, at=int(now)
    )
    ours = retries.c.started_by == process
    counted = insert.on_conflict_do_update(
        index_elements=[retries.c.iss, retries.c.jti],
        set_={
            "starts": case((ours, retries.c.starts), else_=retries.c.starts + 1),
            "started_by": process,
            "at": int(now),
        },
    )
    result = await session.execute(counted.returning(retries.c.starts))
    return int(result.scalar_one())


async def take_back_starts(session: AsyncSession, retries: Table, *, process: str) -> None:
    """The process ends in order: what it started and did not end has not crashed it."""
    await session.execute(
        update(retries)
        .where(retries.c.started_by == process)
        .values(starts=retries.c.starts - 1, started_by=None)
    )


async def forget_attempts(session: AsyncSession, retries: Table, message: VerifiedMessage) -> None:
    """The message is done with, or begins anew because an operator releases it: no counts."""
    seal = message.seal
    await session.execute(
        delete(retries).where(retries.c.iss == seal.iss, retries.c.jti == seal.jti)
    )
