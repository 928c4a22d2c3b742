"""How often a message has been tried, in the service's own database.

Headers can be forged and the broker counts deliveries, not attempts; so the count is kept here,
by the verified id of the message.
"""

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, delete
from sqlalchemy.ext.asyncio import AsyncSession

from auth.message import VerifiedMessage
from messaging.upsert import insert_into


def retries_table(metadata: MetaData) -> Table:
    """Add the table to a service's own: one row for each message that waits for a retry."""
    return Table(
        "retries",
        metadata,
        Column("iss", String(64), primary_key=True),
        Column("jti", String(64), primary_key=True),
        Column("attempts", Integer, nullable=False),
        Column("at", BigInteger, nullable=False),
    )


async def count_attempt(
    session: AsyncSession, retries: Table, message: VerifiedMessage, *, now: float
) -> int:
    """Count one more failed attempt; the number there have been now."""
    seal = message.seal
    insert = insert_into(session, retries).values(
        iss=seal.iss, jti=seal.jti, attempts=1, at=int(now)
    )
    counted = insert.on_conflict_do_update(
        index_elements=[retries.c.iss, retries.c.jti],
        set_={"attempts": retries.c.attempts + 1, "at": int(now)},
    )
    result = await session.execute(counted.returning(retries.c.attempts))
    return int(result.scalar_one())


async def forget_attempts(session: AsyncSession, retries: Table, message: VerifiedMessage) -> None:
    """The message is done with."""
    seal = message.seal
    await session.execute(
        delete(retries).where(retries.c.iss == seal.iss, retries.c.jti == seal.jti)
    )
