"""The inbox: which messages are done with, so that none has its effect twice.

Rows are kept for as long as their message can come again (`messaging.pruning`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    MetaData,
    String,
    Table,
    literal,
    not_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import service_subject
from auth.message import VerifiedMessage
from messaging.bulk import Key, insert_new
from messaging.upsert import insert_into

Outcome = Literal["done", "refused", "discarded"]

MessageKey = tuple[str, str]
"""Who published a message, and its id: `iss` and `jti` of the seal."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the inbox says to a message.

    new: for the first time; the row is written, unless the transaction rolls back.
    released: it was refused before, and an operator has released or discarded it; the row is
        written anew.
    done, refused: the same message was here before, and this became of it. What was discarded is
        done with as well.
    other: its publisher gave its id to another message before.
    ahead: another message goes first; nothing is written.
    """

    standing: Literal["new", "released", "done", "refused", "other", "ahead"]
    code: str | None = None


def inbox_table(metadata: MetaData) -> Table:
    """Add the table to a service's own: one row for each message, refused ones too."""
    return Table(
        "inbox",
        metadata,
        Column("iss", String(64), primary_key=True),
        Column("jti", String(64), primary_key=True),
        Column("value", String(64), nullable=False),
        Column("outcome", String(16), nullable=False),
        Column("code", String(64)),
        Column("at", BigInteger, nullable=False, index=True),
    )


def value_of(message: VerifiedMessage) -> str:
    """What makes two messages with one id the same one: subject, type, body."""
    seal = message.seal
    parts = [part.encode() for part in (subject_of(message), seal.ty, seal.bh)]
    return hashlib.sha256(
        b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    ).hexdigest()


def subject_of(message: VerifiedMessage) -> str:
    """Whose message it is: the carnet's subject, whose act an event records, or the client."""
    if message.principal is not None:
        return message.principal.subject
    if message.seal.k == "evt" and message.seal.sub is not None:
        return message.seal.sub
    return service_subject(message.seal.iss)


async def claim(
    session: AsyncSession,
    inbox: Table,
    message: VerifiedMessage,
    *,
    outcome: Outcome,
    code: str | None = None,
    now: float,
    unless: ColumnElement[bool] | None = None,
) -> Claim:
    """Write the message's row, or say what it finds there.

    unless: in which case a new message is not to be written, since another one is ahead of it.

    The key is (`iss`, `jti`) of the seal, so nobody can claim an id of another publisher. Of two
    transactions at once the second one waits here for the first one's end. A release is spent on
    a row that says refused: once that says anything else, no release changes it.
    """
    seal = message.seal
    value = value_of(message)
    row = {
        inbox.c.iss: seal.iss,
        inbox.c.jti: seal.jti,
        inbox.c.value: value,
        inbox.c.outcome: outcome,
        inbox.c.code: code,
        inbox.c.at: int(now),
    }
    values = select(*(literal(held, column.type) for column, held in row.items()))
    insert = insert_into(session, inbox).from_select(
        list(row), values.where(true() if unless is None else not_(unless))
    )
    written = await session.execute(insert.on_conflict_do_nothing().returning(inbox.c.jti))
    if written.first() is not None:
        return Claim("new")
    found = (
        await session.execute(
            select(inbox.c.value, inbox.c.outcome, inbox.c.code).where(
                inbox.c.iss == seal.iss, inbox.c.jti == seal.jti
            )
        )
    ).one_or_none()
    if found is None:
        return Claim("ahead")
    if found.value != value:
        return Claim("other")
    if found.outcome != "refused":
        return Claim("done", found.code)
    if message.release is None:
        return Claim("refused", found.code)
    rewrite = (
        update(inbox)
        .where(inbox.c.iss == seal.iss, inbox.c.jti == seal.jti, inbox.c.outcome == "refused")
        .values(outcome=outcome, code=code, at=int(now))
        .returning(inbox.c.jti)
    )
    rewritten = await session.execute(rewrite)
    return Claim("released" if rewritten.first() is not None else "done")


async def claim_new(
    session: AsyncSession, inbox: Table, messages: Sequence[VerifiedMessage], *, now: float
) -> set[Key]:
    """Write rows for many different messages that are about to be done; those that were new.

    In the order of their keys, so that two transactions do not wait for each other.
    """
    rows = [
        {
            "iss": message.seal.iss,
            "jti": message.seal.jti,
            "value": value_of(message),
            "outcome": "done",
            "at": int(now),
        }
        for message in sorted(messages, key=lambda each: (each.seal.iss, each.seal.jti))
    ]
    return await insert_new(session, inbox, rows, key=(inbox.c.iss, inbox.c.jti))
