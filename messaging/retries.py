"""How often a message has been tried, and started without an end, in the service's own database.

Headers can be forged and the broker counts deliveries, not attempts; so both counts are kept
here, by the verified id of the message.

attempts: times that its handler failed.
starts: processes that started it and ended neither it nor themselves in order. The start of a
first delivery is not written down: it is taken for granted once the message is redelivered.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, case, delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.message import VerifiedMessage
from messaging.upsert import insert_into

CRASHES: Final = 5
"""Starts without an end after which a message is poison."""


def retries_table(metadata: MetaData) -> Table:
    """Add the table to a service's own: one row for each message that has failed or may crash."""
    return Table(
        "retries",
        metadata,
        Column("iss", String(64), primary_key=True),
        Column("jti", String(64), primary_key=True),
        Column("attempts", Integer, nullable=False),
        Column("starts", Integer, nullable=False, server_default="0"),
        Column("started_by", String(32)),
        Column("at", BigInteger, nullable=False, index=True),
    )


async def count_attempt(
    session: AsyncSession, retries: Table, message: VerifiedMessage, *, now: float
) -> int:
    """Count one more failed attempt; the number there have been now. It is no crash."""
    seal = message.seal
    insert = insert_into(session, retries).values(
        iss=seal.iss, jti=seal.jti, attempts=1, starts=0, at=int(now)
    )
    counted = insert.on_conflict_do_update(
        index_elements=[retries.c.iss, retries.c.jti],
        set_={"attempts": retries.c.attempts + 1, "starts": 0, "started_by": None, "at": int(now)},
    )
    result = await session.execute(counted.returning(retries.c.attempts))
    return int(result.scalar_one())


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
