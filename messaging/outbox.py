"""The outbox: events written with the effect that they tell of, and published afterwards."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from auth.message import Route
from messaging.unit_of_work import UnitOfWork

_ID: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """One row: an event that waits to be sealed and published. `message_id` stays the same."""

    id: int
    message_id: str
    route: Route
    body: bytes
    subject: str
    cause: str
    trace: Mapping[str, str]


def outbox_table(metadata: MetaData) -> Table:
    """Add the table to a service's own: one row for each event that is not yet published."""
    return Table(
        "outbox",
        metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        Column("message_id", String(64), nullable=False, unique=True),
        Column("exchange", String(255), nullable=False),
        Column("routing_key", String(255), nullable=False),
        Column("type", String(255), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("subject", String(100), nullable=False),
        Column("cause", String(64), nullable=False),
        Column("trace", JSON, nullable=False),
        Column("created_at", BigInteger, nullable=False),
    )


async def add_events(outbox: Table, work: UnitOfWork, trace: Mapping[str, str]) -> None:
    """Write the events of a unit of work, in its own transaction."""
    rows = [
        {
            "message_id": str(uuid.uuid4()),
            "exchange": event.route.exchange,
            "routing_key": event.route.routing_key,
            "type": event.route.type,
            "body": event.to_body(),
            "subject": subject,
            "cause": work.message.seal.jti,
            "trace": dict(trace),
            "created_at": int(work.now),
        }
        for event, subject in work.events
    ]
    if rows:
        await work.session.execute(insert(outbox), rows)


async def next_events(session: AsyncSession, outbox: Table, limit: int) -> list[OutgoingEvent]:
    """The oldest events. On PostgreSQL they are locked, and those of other replicas left out."""
    rows = await session.execute(
        select(outbox).order_by(outbox.c.id).limit(limit).with_for_update(skip_locked=True)
    )
    return [
        OutgoingEvent(
            id=row.id,
            message_id=row.message_id,
            route=Route(row.exchange, row.routing_key, row.type),
            body=row.body,
            subject=row.subject,
            cause=row.cause,
            trace=row.trace,
        )
        for row in rows
    ]


async def remove_events(
    session: AsyncSession, outbox: Table, events: Sequence[OutgoingEvent]
) -> None:
    """These are published."""
    await session.execute(delete(outbox).where(outbox.c.id.in_([event.id for event in events])))
