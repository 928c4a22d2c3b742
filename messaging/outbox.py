"""The outbox: messages written with the effect that they tell of, and published afterwards.

Messages of one aggregate leave in the order in which they were written. A relay that holds the
lock of an aggregate's oldest message has the aggregate for itself, so several relays share the
table (on PostgreSQL; SQLite is for one process).
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, assert_never

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Delete,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    any_,
    bindparam,
    cast,
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
from messaging.inbox import subject_of
from messaging.outgoing import OutgoingCommand, OutgoingEvent
from messaging.unit_of_work import UnitOfWork

_ID: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys

LANES: Final = 100
"""Aggregates that one look takes."""

LANE: Final = 10
"""Messages of one aggregate that one look takes, so that a long one does not hold up the others."""

COUNTED: Final = 10_000
"""Messages that are counted at most, when somebody asks how many wait."""

ABANDONED: Final = 60
"""Seconds after which PostgreSQL takes the locks of a relay that has stopped in mid-air."""


class StoredMessage(NamedTuple):
    """One row: what waits to be sealed and published. `message_id` stays the same.

    receiver: the service that a command is for; None for an event.
    scopes: of the carnet that a command needs.   wanted_until: seconds since the epoch.
    carnet: in whose name a command is given; None where it is our own.
    accepted_at: when it was written, seconds since the epoch.
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
    carnet: str | None
    accepted_at: float
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
        Column("carnet", Text),
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
            "message_id": os.urandom(16).hex(),
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
    row = {
        "aggregate": outgoing.aggregate,
        "exchange": outgoing.route.exchange,
        "routing_key": outgoing.route.routing_key,
        "type": outgoing.route.type,
        "body": outgoing.body,
    }
    match outgoing:
        case OutgoingEvent():
            return row | {
                "subject": outgoing.subject,
                "receiver": None,
                "scope": None,
                "wanted_until": None,
                "carnet": None,
            }
        case OutgoingCommand():
            return row | {
                "subject": subject_of(work.message),
                "receiver": outgoing.receiver,
                "scope": join_scope(outgoing.scopes),
                "wanted_until": int(work.now + outgoing.wanted_for.total_seconds()),
                "carnet": outgoing.carnet,
            }
        case _:
            assert_never(outgoing)


async def take_lanes(
    session: AsyncSession, outbox: Table, *, failed_before: bool, now: float
) -> list[Lane]:
    """The oldest messages of some aggregates; on PostgreSQL they are ours until the commit.

    failed_before: of aggregates whose oldest message could not be published, and whose turn has
        come again; or else of all others.
    """
    values = {"now": int(now * 1000)}
    if session.get_bind().dialect.name == "sqlite":
        packed = await session.scalar(_packed(outbox, failed_before=failed_before), values)
        rows = sorted(json.loads(packed or "[]"), key=itemgetter(1))
        return _lanes((bytes.fromhex(body), *others) for body, *others in rows)
    await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{ABANDONED}s'"))
    return _lanes(await session.execute(_locked(outbox, failed_before=failed_before), values))


def _heads(outbox: Table, *, failed_before: bool) -> Select[str]:
    """The aggregates whose turn it is, by their oldest messages."""
    heads, older = outbox.alias("heads"), outbox.alias("older")
    due = heads.c.failures == 0
    if failed_before:
        due = (heads.c.failures > 0) & (heads.c.due_at <= bindparam("now", type_=BigInteger))
    oldest = ~exists().where(older.c.aggregate == heads.c.aggregate, older.c.id < heads.c.id)
    found = select(heads.c.aggregate).where(due, oldest).order_by(heads.c.id).limit(LANES)
    return found.with_for_update(of=heads, skip_locked=True)


def _places(outbox: Table, *, failed_before: bool) -> Select[int, int]:
    """The ids of those aggregates' oldest messages, and their places in their lanes, from 1."""
    held = _heads(outbox, failed_before=failed_before).cte("held")
    place = func.row_number().over(partition_by=outbox.c.aggregate, order_by=outbox.c.id)
    return select(outbox.c.id, place.label("place")).where(
        outbox.c.aggregate.in_(select(held.c.aggregate))
    )


@lru_cache(maxsize=8)
def _locked(outbox: Table, *, failed_before: bool) -> Select[Any]:
    """Whoever holds the oldest message of an aggregate holds all of it.

    One that another relay has just removed is gone for us too: what followed it is no head in
    what we see. And what another one holds is passed over, which leaves a gap in the places.
    """
    places = _places(outbox, failed_before=failed_before).cte("places")
    found = (
        select(*_columns(outbox), places.c.place)
        .join(places, places.c.id == outbox.c.id)
        .where(places.c.place <= LANE)
        .order_by(outbox.c.id)
    )
    return found.with_for_update(of=outbox, skip_locked=True)


@lru_cache(maxsize=8)
def _packed(outbox: Table, *, failed_before: bool) -> Select[str]:
    """All as one value: the driver would let go of the interpreter's lock for each row."""
    places = _places(outbox, failed_before=failed_before).cte("places")
    body, *others = _columns(outbox)
    row = func.json_array(func.hex(body), *others, places.c.place)
    found = select(func.json_group_array(row)).join(places, places.c.id == outbox.c.id)
    return found.where(places.c.place <= LANE)


def _columns(outbox: Table) -> list[ColumnElement[Any]]:
    """What `_stored` reads, in its order."""
    c = outbox.c
    route, seal = (c.exchange, c.routing_key, c.type), (c.subject, c.cause, cast(c.trace, Text))
    command = (c.receiver, c.scope, c.wanted_until, c.carnet, c.created_at)
    return [c.body, c.id, c.message_id, c.aggregate, *route, *seal, *command, c.failures]


def _lanes(rows: Iterable[Sequence[Any]]) -> list[Lane]:
    """By aggregate, the one with the oldest message first.

    Each up to the first that is not ours: a late commit may have put one before another's head.
    """
    lanes: dict[str, list[StoredMessage]] = {}
    for *columns, place in rows:
        message = _stored(columns)
        lane = lanes.setdefault(message.aggregate, [])
        if place == len(lane) + 1:
            lane.append(message)
    return [lane for lane in lanes.values() if lane]


def _stored(columns: Sequence[Any]) -> StoredMessage:
    body, row_id, message_id, aggregate, *others = columns
    exchange, routing_key, type_, subject, cause, trace, receiver, scope, *rest = others
    return StoredMessage(
        row_id,
        message_id,
        aggregate,
        _route(exchange, routing_key, type_),
        body,
        subject,
        cause,
        {} if trace == "{}" else json.loads(trace),
        receiver,
        split_scope(scope or ""),
        *rest,
    )


_route = lru_cache(maxsize=256)(Route)


async def remove(session: AsyncSession, outbox: Table, published: Sequence[StoredMessage]) -> None:
    """These are published."""
    if published:
        ids: Any = [message.id for message in published]
        dialect = session.get_bind().dialect.name
        if dialect == "sqlite":
            ids = json.dumps(ids)
        await session.execute(_removal(outbox, dialect), {"ids": ids})


@lru_cache(maxsize=8)
def _removal(outbox: Table, dialect: str) -> Delete:
    """One statement for any number of rows."""
    if dialect == "sqlite":
        ids = select(func.json_each(bindparam("ids", type_=Text)).table_valued("value").c.value)
        return delete(outbox).where(outbox.c.id.in_(ids))
    return delete(outbox).where(outbox.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))


class Waiting(NamedTuple):
    """How many messages wait, up to `COUNTED`, and for how long the oldest; None: not known."""

    messages: int | None = None
    seconds: float | None = None


async def waiting(session: AsyncSession, outbox: Table, *, now: float) -> Waiting:
    """What waits now."""
    some = select(outbox.c.id).limit(COUNTED).subquery()
    messages = await session.scalar(select(func.count()).select_from(some)) or 0
    first = select(outbox.c.created_at).order_by(outbox.c.id).limit(1)
    created_at = await session.scalar(first)
    return Waiting(messages, 0.0 if created_at is None else max(0.0, now - created_at))


async def hold_back(
    session: AsyncSession, outbox: Table, message: StoredMessage, *, due_at: float
) -> None:
    """This one failed once more; it and what follows it wait until `due_at`."""
    await session.execute(
        update(outbox)
        .where(outbox.c.id == message.id)
        .values(failures=outbox.c.failures + 1, due_at=int(due_at * 1000))
    )
