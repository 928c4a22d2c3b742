"""What is there when all is over, read past the services: tables by SQL, queues from the broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel

from auth.explain import decode_unverified
from auth.message import AUTHORIZATION, CARNET_SEAL
from services.contracts.topology import ORDERS_COMMANDS
from tests.chaos.databases import Databases
from tests.chaos.mallory import ALL_EVENTS

WITHIN: Final = 30.0
SETTLED_LOOKS: Final = 5
"""So many looks in a row must find nothing on its way: between two queues it is in neither."""
LOOK_EVERY: Final = 0.5


@dataclass(frozen=True)
class StoredOrder:
    """A row of `orders`, with what its lines order."""

    id: str
    subject: str
    state: str
    refusal: str | None
    lines: tuple[tuple[str, int], ...]
    """Of each line the SKU and how many."""


@dataclass(frozen=True)
class InboxRow:
    """What the inbox says became of a message."""

    iss: str
    jti: str
    outcome: str
    code: str | None


@dataclass(frozen=True)
class ToldEvent:
    """An order event: from the user's history, or as it left through the broker."""

    subject: str
    sequence: int
    order_id: str
    type: str
    body: str

    @property
    def command(self) -> str:
        """Of a refusal, the type of the command that was refused."""
        return str(json.loads(self.body).get("command", ""))


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter; `message_id` is what its seal says, unverified."""

    message_id: str
    reason: str
    seal: str
    authorization: str
    body: str


@dataclass
class Evidence:
    """Everything that the system left."""

    orders: list[StoredOrder] = field(default_factory=list)
    inbox: list[InboxRow] = field(default_factory=list)
    history: list[ToldEvent] = field(default_factory=list)
    published: list[ToldEvent] = field(default_factory=list)
    """Every event that came over the broker, repetitions too."""
    dead: list[DeadLetter] = field(default_factory=list)
    outbox: int = 0
    """Events that never left."""
    queued: int = 0
    """Commands that are still in a queue."""


_ORDERS: Final = "SELECT id, subject, state, refusal FROM orders"
_LINES: Final = "SELECT order_id, sku, quantity FROM order_lines ORDER BY order_id, number"
_INBOX: Final = "SELECT iss, jti, outcome, code FROM inbox"
_HISTORY: Final = (
    "SELECT subject, sequence, order_id, type, body FROM order_events ORDER BY subject, sequence"
)
_OUTBOX: Final = "SELECT count(*) FROM outbox"
_LATEST: Final = "SELECT subject, latest FROM event_sequences"


async def settle(databases: Databases, url: str, within: float) -> None:
    """Wait until no command and no event is on its way any more.

    Raises:
        TimeoutError: something still is.
    """
    async with asyncio.timeout(within), _channel(url) as channel:
        quiet = 0
        while quiet < SETTLED_LOOKS:
            await asyncio.sleep(LOOK_EVERY)
            waiting = await _queued(channel) + await _outbox(databases)
            quiet = 0 if waiting else quiet + 1


async def latest(databases: Databases) -> dict[str, int]:
    """The number of each user's newest event."""
    return {str(row[0]): int(row[1]) for row in await databases.read("orders", _LATEST)}


async def gather(databases: Databases, url: str) -> Evidence:
    """Read everything, once the services have ended."""
    lines: dict[str, list[tuple[str, int]]] = {}
    for order_id, sku, quantity in await databases.read("orders", _LINES):
        lines.setdefault(order_id, []).append((sku, quantity))
    evidence = Evidence(
        orders=[
            StoredOrder(order_id, subject, state, refusal, tuple(lines.get(order_id, [])))
            for order_id, subject, state, refusal in await databases.read("orders", _ORDERS)
        ],
        inbox=[InboxRow(*row) for row in await databases.read("orders", _INBOX)],
        history=[ToldEvent(*row) for row in await databases.read("orders", _HISTORY)],
        outbox=await _outbox(databases),
    )
    async with _channel(url) as channel:
        evidence.queued = await _queued(channel)
        async for message in _all(channel, ORDERS_COMMANDS.dead):
            evidence.dead.append(_dead_letter(message))
        async for message in _all(channel, ALL_EVENTS):
            evidence.published.append(_event(message))
    return evidence


async def _outbox(databases: Databases) -> int:
    return int((await databases.read("orders", _OUTBOX))[0][0])


async def _queued(channel: AbstractChannel) -> int:
    names = [ORDERS_COMMANDS.name, *(retry.name for retry in ORDERS_COMMANDS.retries)]
    counts = [await channel.declare_queue(name, passive=True) for name in names]
    return sum(queue.declaration_result.message_count or 0 for queue in counts)


async def _all(
    channel: AbstractChannel, name: str
) -> AsyncIterator[aio_pika.abc.AbstractIncomingMessage]:
    """Every message of a queue; all go back when the channel closes."""
    queue = await channel.get_queue(name, ensure=False)
    while (message := await queue.get(fail=False, timeout=WITHIN)) is not None:
        yield message


def _dead_letter(message: aio_pika.abc.AbstractIncomingMessage) -> DeadLetter:
    seal = str(message.headers.get(CARNET_SEAL, ""))
    return DeadLetter(
        message_id=str(decode_unverified(seal).unverified_claims["jti"]),
        reason=str(message.headers.get("carnet-reason")),
        seal=seal,
        authorization=str(message.headers.get(AUTHORIZATION, "")),
        body=message.body.decode(),
    )


def _event(message: aio_pika.abc.AbstractIncomingMessage) -> ToldEvent:
    claims = decode_unverified(str(message.headers[CARNET_SEAL])).unverified_claims
    body = json.loads(message.body)
    return ToldEvent(
        subject=str(claims["sub"]),
        sequence=int(body["sequence"]),
        order_id=str(body["order_id"]),
        type=str(message.type),
        body=message.body.decode(),
    )


@asynccontextmanager
async def _channel(url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(url, timeout=WITHIN)
    async with connection:
        yield await connection.channel()
