"""The order service on a real broker, where it meets every message that can be forged.

It trusts the parties of `tests.auth.forge` and reads the time of the scene that is played, so
that whatever the verifier is asked there by itself can be published to it here.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select

from auth.errors import AuthError
from auth.keyset import KeySet
from auth.message import UnverifiedMessage
from auth.revocation import RevocationList
from auth.seal import Sealer
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import CommandConsumer, ConsumerParts
from messaging.database import Database, open_database
from messaging.delivery import Delivery
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.relay import OutboxRelay
from messaging.subscription import Subscription, listening_queue, shared_queue
from messaging.topology import EVENTS, declare
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS, TOPOLOGY
from services.orders.__main__ import MIGRATIONS
from services.orders.app import order_commands
from services.orders.refusals import tell_refusal
from services.orders.tables import MESSAGING, METADATA, ORDERS
from services.orders.work import OrderWork
from tests.auth.forge import PLACE, Scene, command_scene, parties
from tests.messaging.raw import Raw, raw_channel, until

DEADLINE: Final = 10.0
FRAME: Final = 120_000
"""Bytes of headers that still fit into one frame: more never reaches a queue."""


@dataclass
class SceneTrust:
    """What the scene that is played says is to be trusted, at the scene's own time."""

    scene: Scene = field(default_factory=command_scene)

    @property
    def key_set(self) -> KeySet:
        return self.scene.key_set

    @property
    def revocations(self) -> RevocationList:
        return self.scene.revocations

    def require_fresh(self, now: float) -> None:
        self.key_set.require_current(now)

    def clock(self) -> float:
        return self.scene.now


def fresh(scene: Scene) -> Scene:
    """The same under an id of its own: the inbox remembers what was genuine."""
    return scene.with_seal(jti=str(uuid.uuid4()))


def can_be_sent(scene: Scene) -> bool:
    """Of this service's own handler, and with headers that AMQP can carry."""
    genuine = command_scene()
    if (scene.route, scene.policy, scene.expiry) != (PLACE, genuine.policy, genuine.expiry):
        return False
    try:
        return sum(len(str(v).encode()) for v in scene.message().headers.values()) < FRAME
    except UnicodeEncodeError:
        return False


@dataclass
class Field:
    """What an attacker with a login of the broker's owner can do, and what came of it."""

    trust: SceneTrust
    raw: Raw
    database: Database
    events: Subscription
    dead: Subscription
    consumer: CommandConsumer
    runs: asyncio.Task[None]
    sent: int = 0

    async def publish(self, scene: Scene, **properties: Any) -> None:
        """Past our own publisher, which would not send some of these.

        What was sent before is judged by its own scene, which has a clock of its own.
        """
        await until(lambda: self.consumer.counts.total() >= self.sent)
        self.trust.scene = scene
        await self.send(scene.message(), **properties)

    async def send(self, message: UnverifiedMessage, **properties: Any) -> None:
        """Likewise, under the scene that was played last."""
        self.sent += 1
        await self.raw.publish(
            PLACE.exchange,
            PLACE.routing_key,
            message.body,
            # The library writes an AMQP byte array for a bytearray only.
            headers={
                name: bytearray(value) if isinstance(value, bytes) else value
                for name, value in message.headers.items()
            },
            **{"type": message.type, **properties},
        )

    async def next_dead_letter(self) -> Delivery:
        return await _next(self.dead)

    async def reason(self) -> str:
        """Why the next dead letter is one."""
        return str((await self.next_dead_letter()).headers["carnet-reason"])

    async def next_event(self) -> Delivery:
        return await _next(self.events)

    async def orders(self) -> int:
        async with self.database.session() as session:
            return await session.scalar(select(func.count()).select_from(ORDERS)) or 0

    async def rows(self) -> dict[str, int]:
        """How many rows each table has; the outbox's come and go by themselves."""
        async with self.database.session() as session:
            return {
                table.name: await session.scalar(select(func.count()).select_from(table)) or 0
                for table in METADATA.sorted_tables
                if table is not MESSAGING.outbox
            }

    async def still_places_orders(self) -> None:
        """The consumer goes on: the next genuine order is placed."""
        await self.publish(fresh(command_scene()))
        assert (await self.next_event()).type == "orders.placed.v1"
        assert not self.runs.done()


def verdict(scene: Scene) -> AuthError:
    """What the verifier says of it by itself."""
    try:
        scene.judge()
    except AuthError as error:
        return error
    raise AssertionError("the scene is genuine")


async def _next(subscription: Subscription) -> Delivery:
    async with asyncio.timeout(DEADLINE):
        delivery = await subscription.next()
    assert delivery is not None
    await delivery.ack()
    return delivery


@asynccontextmanager
async def open_field(amqp_url: str, folder: Path) -> AsyncIterator[Field]:
    """The order consumer and its relay as `services.orders.__main__` wires them."""
    database_url = f"sqlite+aiosqlite:///{folder / 'orders.db'}"
    await upgrade(database_url, MIGRATIONS)
    database = open_database(database_url)
    broker = await Broker(amqp_url, name="field").start(DEADLINE)
    await declare(broker, TOPOLOGY, deadline=DEADLINE)
    trust = SceneTrust()
    publisher = Publisher(broker, client_id=ORDER_SERVICE)
    relay = OutboxRelay(
        database=database,
        outbox=MESSAGING.outbox,
        publisher=publisher,
        sealer=Sealer(ORDER_SERVICE, parties().orders),
        clock=trust.clock,
    )
    parts = ConsumerParts(
        broker=broker,
        publisher=publisher,
        verifier=Verifier(trust, audience=ORDER_SERVICE),
        database=database,
        tables=MESSAGING,
        unit_of_work=OrderWork,
        on_refused=tell_refusal,
        committed=relay.wake,
        clock=trust.clock,
        service=ORDER_SERVICE,
    )
    events = Subscription(broker, listening_queue("test", EVENTS, ["#"]), prefetch=100)
    dead = Subscription(broker, shared_queue(ORDERS_COMMANDS.dead), prefetch=100)
    shutdown = asyncio.Event()
    consumer = order_commands()
    runs = asyncio.create_task(consumer.run(parts, shutdown))
    others: list[asyncio.Task[Any]] = [
        asyncio.create_task(running)
        for running in (relay.run(shutdown), events.run(shutdown), dead.run(shutdown))
    ]
    await events.wait_until_ready(DEADLINE)
    await dead.wait_until_ready(DEADLINE)
    try:
        async with raw_channel(amqp_url) as raw:
            yield Field(trust, raw, database, events, dead, consumer, runs)
    finally:
        shutdown.set()
        await asyncio.gather(runs, *others)
        await broker.close(DEADLINE)
        await database.close()
