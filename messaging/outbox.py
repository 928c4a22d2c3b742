"""The outbox: messages written with the effect that they tell of, and published afterwards.

Messages of one aggregate leave in the order in which they were written. A relay that holds the
lock of an aggregate's oldest message has the aggregate for itself, so several relays share the
table (on PostgreSQL; SQLite is for one process).
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    delete,
    exists,
    func,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import join_scope, split_scope
from auth.message import Route
from messaging.bulk import insert_rows
from messaging.contract import Contract
from messaging.inbox import subject_of
from messaging.outgoing import OutgoingCommand, OutgoingEvent
from messaging.unit_of_work import UnitOfWork

_ID: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys

LANES: Final = 100
"""Aggregates that one look takes."""

LANE: Final = 10
"""Messages of one aggregate that one look takes, so that a long one does not hold up the others."""

ABANDONED: Final = 60
"""Seconds after which PostgreSQL takes the locks of a relay that has stopped in mid-air."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One row: what waits to be sealed and published. `message_id` stays the same.

    receiver: the service that a command is for; None for an event.
    scopes: of the carnet that a command needs.   wanted_until: seconds since the epoch.
    failures: how often publishing it has failed.
    """

    id: int
    message_id: str
    aggregate: str
    route: Route
    body: bytes
    subject: str
    cause: str
    trace: Mapping[str, str]
    receiver: str | None
    scopes: frozenset[str]
    wanted_until: float | None
    failures: int


Lane = Sequence[StoredMessage]
"""The oldest messages of one aggregate, in their order."""


def outbox_table(metadata: MetaData) -> Table:
    """Add the table to a service's own: one row for each message that is not yet published."""
    return Table(
        "outbox",
        metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        Column("message_id", String(64), nullable=False, unique=True),
        Column("aggregate", String(200), nullable=False, server_default=""),
        Column("exchange", String(255), nullable=False),
        Column("routing_key", String(255), nullable=False),
        Column("type", String(255), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("subject", String(100), nullable=False),
        Column("cause", String(64), nullable=False),
        Column("trace", JSON, nullable=False),
        Column("receiver", String(64)),
        Column("scope", String(1000)),
        Column("wanted_until", BigInteger),
        Column("failures", Integer, nullable=False, server_default="0"),
        Column("due_at", BigInteger, nullable=False, server_default="0"),
        Column("created_at", BigInteger, nullable=False),
        Index("ix_outbox_aggregate", "aggregate", "id"),
    )


async def add_outgoing(
    outbox: Table, works: Iterable[tuple[UnitOfWork, Mapping[str, str]]]
) -> None:
    """Write what units of work of one transaction send, after all else that they do.

    Each comes with the trace that it belongs to.
    """
    works = list(works)
    rows = [
        {
            "message_id": str(uuid.uuid4()),
            "cause": work.message.seal.jti,
            "trace": dict(trace),
            "created_at": int(work.now),
            **_row(each, work),
        }
        for work, trace in works
        for each in work.outgoing
    ]
    if rows:
        await insert_rows(works[0][0].session, outbox, rows)


def _row(outgoing: OutgoingEvent | OutgoingCommand, work: UnitOfWork) -> dict[str, Any]:
    match outgoing:
        case OutgoingEvent():
            return {
                **_message(outgoing.event, outgoing.aggregate),
                "subject": outgoing.subject,
                "receiver": None,
                "scope": None,
                "wanted_until": None,
            }
        case OutgoingCommand():
            return {
                **_message(outgoing.command, outgoing.aggregate),
                "subject": subject_of(work.message),
                "receiver": outgoing.receiver,
                "scope": join_scope(outgoing.scopes),
                "wanted_until": int(work.now + outgoing.wanted_for.total_seconds()),
            }
        case _:
            assert_never(outgoing)


def _message(contract: Contract, aggregate: str) -> dict[str, Any]:
    return {
        "aggregate": aggregate,
        "exchange": contract.route.exchange,
        "routing_key": contract.route.routing_key,
        "type": contract.route.type,
        "body": contract.to_body(),
    }


async def take_lanes(
    session: AsyncSession, outbox: Table, *, failed_before: bool, now: float
) -> list[Lane]:
    """The oldest messages of some aggregates; on PostgreSQL they are ours until the commit.

    failed_before: of aggregates whose oldest message could not be published, and whose turn has
        come again; or else of all others.
    """
    shared = session.get_bind().dialect.name == "postgresql"
    if shared:
        await session.execute(
            text(f"SET LOCAL idle_in_transaction_session_timeout = '{ABANDONED}s'")
        )
    heads = outbox.alias()
    older = outbox.alias()
    due = (
        (heads.c.failures > 0) & (heads.c.due_at <= int(now * 1000))
        if failed_before
        else heads.c.failures == 0
    )
    # Whoever holds the oldest message of an aggregate holds all of it. One that another relay
    # has just removed is gone for us too: what followed it is no head in what we see.
    aggregates = (
        select(heads.c.aggregate)
        .where(
            due,
            ~exists().where(older.c.aggregate == heads.c.aggregate, older.c.id < heads.c.id),
        )
        .order_by(heads.c.id)
        .limit(LANES)
    )
    if not shared:
        return _lanes(await session.execute(_oldest(outbox, aggregates)))
    locked = aggregates.with_for_update(of=heads, skip_locked=True)
    held = (await session.scalars(locked)).all()
    if not held:
        return []
    lanes = _lanes(await session.execute(_oldest(outbox, held)))
    ours = await _lock(session, outbox, (message.id for lane in lanes for message in lane))
    return [taken for lane in lanes if (taken := _first_ones(lane, ours))]


def _oldest(outbox: Table, aggregates: Select[str] | Sequence[str]) -> Select[Any]:
    """As many messages of each of these aggregates as one look takes."""
    place = func.row_number().over(partition_by=outbox.c.aggregate, order_by=outbox.c.id)
    of_these = select(outbox, place.label("place")).where(outbox.c.aggregate.in_(aggregates))
    placed = of_these.subquery()
    return select(placed).where(placed.c.place <= LANE).order_by(placed.c.id)


def _lanes(rows: Iterable[Any]) -> list[Lane]:
    """By aggregate, the one with the oldest message first."""
    lanes: dict[str, list[StoredMessage]] = {}
    for row in rows:
        lanes.setdefault(row.aggregate, []).append(_stored(row))
    return list(lanes.values())


async def _lock(session: AsyncSession, outbox: Table, ids: Iterable[int]) -> set[int]:
    """Lock these messages; which of them are ours now."""
    locked = select(outbox.c.id).where(outbox.c.id.in_(list(ids)))
    return set((await session.scalars(locked.with_for_update(skip_locked=True))).all())


def _first_ones(lane: Lane, ours: set[int]) -> Lane:
    """Up to the first that is not ours: a late commit may have put one before another's head."""
    for place, message in enumerate(lane):
        if message.id not in ours:
            return lane[:place]
    return lane


def _stored(row: Any) -> StoredMessage:
    return StoredMessage(
        id=row.id,
        message_id=row.message_id,
        aggregate=row.aggregate,
        route=Route(row.exchange, row.routing_key, row.type),
        body=row.body,
        subject=row.subject,
        cause=row.cause,
        trace=row.trace,
        receiver=row.receiver,
        scopes=split_scope(row.scope or ""),
        wanted_until=row.wanted_until,
        failures=row.failures,
    )


async def remove(session: AsyncSession, outbox: Table, published: Sequence[StoredMessage]) -> None:
    """These are published."""
    if published:
        ids = [message.id for message in published]
        await session.execute(delete(outbox).where(outbox.c.id.in_(ids)))


async def hold_back(
    session: AsyncSession, outbox: Table, message: StoredMessage, *, due_at: float
) -> None:
    """This one failed once more; it and what follows it wait until `due_at`."""
    await session.execute(
        update(outbox)
        .where(outbox.c.id == message.id)
        .values(failures=outbox.c.failures + 1, due_at=int(due_at * 1000))
    )
