"""Rows of an outbox, written past any handler, and what is heard of them."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import insert

from auth.explain import decode_unverified
from messaging.contract import Contract
from messaging.database import Database
from tests.messaging.market import ALICE, Sold
from tests.messaging.raw import WAIT
from tests.messaging.stall import TABLES, Stall


def row(
    message_id: str, aggregate: str = ALICE, contract: Contract | None = None, **columns: Any
) -> dict[str, Any]:
    """One event, or whatever `contract` and `columns` make of it."""
    message = contract or Sold(what=f"{aggregate}/{message_id}")
    return {
        "message_id": message_id,
        "aggregate": aggregate,
        "exchange": message.route.exchange,
        "routing_key": message.route.routing_key,
        "type": message.route.type,
        "body": message.to_body(),
        "subject": ALICE,
        "cause": "message-000000000000001",
        "trace": {},
        "created_at": 0,
        "receiver": None,
        "scope": None,
        "wanted_until": None,
        **columns,
    }


def ids(count: int) -> list[str]:
    return [f"event-{number:016d}" for number in range(count)]


async def store(database: Database, rows: Iterable[dict[str, Any]]) -> None:
    async with database.transaction() as session:
        await session.execute(insert(TABLES.outbox), list(rows))


async def emptied(stall: Stall, within: float = WAIT) -> None:
    """Wait until nothing is left in the outbox."""
    async with asyncio.timeout(within):
        while await stall.rows(TABLES.outbox):  # noqa: ASYNC110 - a table has no event
            await asyncio.sleep(0.02)


def id_of(message: AbstractIncomingMessage) -> str:
    """The message's own id, as its seal has it."""
    claims = decode_unverified(str(message.headers["carnet-seal"])).unverified_claims
    return str(claims["jti"])


def first_heard(messages: Sequence[AbstractIncomingMessage]) -> dict[str, list[str]]:
    """The ids in the order in which each was heard first, by aggregate."""
    lanes: defaultdict[str, list[str]] = defaultdict(list)
    for message in messages:
        aggregate = Sold.from_body(message.body).what.rpartition("/")[0]
        if (message_id := id_of(message)) not in lanes[aggregate]:
            lanes[aggregate].append(message_id)
    return dict(lanes)
