"""The order service in this process, on a real broker and database, and its genuine senders."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from auth.encryption import DecryptionKey
from auth.keys import SigningKey
from auth.keyset import KeySet, TrustRoot
from auth.seal import Sealer
from auth.tokens import AccessClaims, Issuer, new_token_id
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import ConsumerParts
from messaging.contract import Command
from messaging.database import Database, open_database
from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.relay import OutboxRelay
from messaging.rpc import RpcClient, RpcParts
from messaging.subscription import Subscription, listening_queue, shared_queue
from messaging.topology import EVENTS, declare
from services.contracts.scopes import ORDERS_READ, ORDERS_WRITE
from services.contracts.topology import GATEWAY, ORDER_SERVICE, ORDERS_COMMANDS, TOPOLOGY
from services.local.trust import make_local_trust
from services.orders.__main__ import MIGRATIONS
from services.orders.app import order_commands, order_queries
from services.orders.order import Order
from services.orders.queries import Queries
from services.orders.refusals import tell_refusal
from services.orders.store import OrderStore
from services.orders.tables import MESSAGING, METADATA
from services.orders.work import OrderWork

DEADLINE = 20.0


@dataclass(frozen=True)
class User:
    """Somebody with a session."""

    subject: str
    session: str

    @classmethod
    def new(cls) -> "User":
        return cls(str(uuid.uuid4()), new_token_id())


@dataclass
class Shop:
    """What a test can do: send as the gateway does, and see what came of it."""

    consumer_parts: ConsumerParts
    key_set: KeySet
    issuer: Issuer
    gateway: Sealer
    database: Database
    publisher: Publisher
    rpc: RpcClient
    events: Subscription
    dead: Subscription

    def carnet(
        self,
        user: User,
        *,
        scopes: frozenset[str] = frozenset({ORDERS_READ, ORDERS_WRITE}),
        audience: str = ORDER_SERVICE,
        issued_at: float | None = None,
    ) -> str:
        """A carnet of the user's, through the gateway."""
        now = time.time() if issued_at is None else issued_at
        parent = AccessClaims(
            iss=self.key_set.issuer,
            sub=user.subject,
            aud=GATEWAY,
            client_id=GATEWAY,
            iat=int(now),
            exp=int(now) + 900,
            jti=new_token_id(),
            scope=" ".join(sorted(scopes)),
            sid=user.session,
            epoch=0,
        )
        return self.issuer.carnet(parent, actor=GATEWAY, audience=audience, scopes=scopes, now=now)

    def sealed(
        self,
        command: Command,
        carnet: str,
        *,
        message_id: str | None = None,
        accepted_at: float | None = None,
        body: bytes | None = None,
        shard: int | None = None,
    ) -> Envelope:
        """The command as the gateway would publish it."""
        now = time.time() if accepted_at is None else accepted_at
        payload = command.to_body() if body is None else body
        seal = self.gateway.command(
            route=command.route,
            audience=ORDER_SERVICE,
            message_id=message_id or str(uuid.uuid4()),
            body=payload,
            carnet=carnet,
            now=now,
            expires_at=now + 24 * 3600,
        )
        return Envelope.sealed(command.route, payload, seal=seal, carnet=carnet, shard=shard)

    async def publish(self, envelope: Envelope) -> None:
        await self.publisher.publish(envelope, deadline=DEADLINE)

    async def next_event(self) -> Delivery:
        return await _next(self.events)

    async def next_dead_letter(self) -> Delivery:
        return await _next(self.dead)

    async def order(self, order_id: str) -> Order | None:
        async with self.database.session() as session:
            return await OrderStore(session).get(order_id)

    async def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        async with self.database.session() as session:
            return {
                table.name: await session.scalar(select(func.count()).select_from(table)) or 0
                for table in METADATA.sorted_tables
            }


async def _next(subscription: Subscription) -> Delivery:
    async with asyncio.timeout(DEADLINE):
        delivery = await subscription.next()
    assert delivery is not None
    return delivery


@asynccontextmanager
async def open_shop(
    amqp_url: str, database_url: str, folder: Path, *, consume: bool = True
) -> AsyncIterator[Shop]:
    """Everything that `services.orders.__main__` wires, and the gateway's side of it.

    consume: whether the order consumer runs; else a test runs its own (`Shop.consumer_parts`).
    """
    make_local_trust(folder)
    root = TrustRoot.from_json((folder / "trust-root.json").read_bytes())
    key_set = root.verify((folder / "key-set.jwt").read_text(), now=time.time())
    trust = FixedTrust(key_set)
    await upgrade(database_url, MIGRATIONS)
    database = open_database(database_url)
    broker = await Broker(amqp_url, name="shop").start(DEADLINE)
    await declare(broker, TOPOLOGY, deadline=DEADLINE)
    publisher = Publisher(broker, client_id=ORDER_SERVICE)
    sealers = {
        client: Sealer(client, SigningKey.load(folder / "keys" / client / "seal.pem"))
        for client in (GATEWAY, ORDER_SERVICE)
    }
    keys = {
        client: DecryptionKey.load(folder / "keys" / client / "enc.pem")
        for client in (GATEWAY, ORDER_SERVICE)
    }
    active = next(kid for kid, k in key_set.issuer_keys.items() if k.state == "active")
    issuer_key = SigningKey.load(folder / "keys" / "user-service" / "issuer" / f"{active}.pem")
    relay = OutboxRelay(
        database=database,
        outbox=MESSAGING.outbox,
        publisher=publisher,
        sealer=sealers[ORDER_SERVICE],
        clock=time.time,
    )
    verifier = Verifier(trust, audience=ORDER_SERVICE)
    consumer = ConsumerParts(
        broker=broker,
        publisher=publisher,
        verifier=verifier,
        database=database,
        tables=MESSAGING,
        unit_of_work=OrderWork,
        on_refused=tell_refusal,
        committed=relay.wake,
        clock=time.time,
        service=ORDER_SERVICE,
    )
    server = RpcParts(
        broker=broker,
        publisher=publisher,
        sealer=sealers[ORDER_SERVICE],
        verifier=verifier,
        trust=trust,
        decryption=keys[ORDER_SERVICE],
        clock=time.time,
    )
    shop = Shop(
        consumer_parts=consumer,
        key_set=key_set,
        issuer=Issuer(key_set.issuer, issuer_key),
        gateway=sealers[GATEWAY],
        database=database,
        publisher=Publisher(broker, client_id=GATEWAY),
        rpc=RpcClient(
            broker,
            Publisher(broker, client_id=GATEWAY),
            sealers[GATEWAY],
            Verifier(trust, audience=GATEWAY),
            trust=trust,
            decryption=keys[GATEWAY],
            clock=time.time,
        ),
        events=Subscription(broker, listening_queue("test", EVENTS, ["#"]), prefetch=100),
        dead=Subscription(broker, shared_queue(ORDERS_COMMANDS.dead), prefetch=100),
    )
    shutdown = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(running)
        for running in (
            *((order_commands().run(consumer, shutdown),) if consume else ()),
            order_queries(Queries(database)).run(server, shutdown),
            relay.run(shutdown),
            shop.events.run(shutdown),
            shop.dead.run(shutdown),
        )
    ]
    await shop.events.wait_until_ready(DEADLINE)
    await shop.dead.wait_until_ready(DEADLINE)
    await shop.rpc.start(DEADLINE)
    try:
        yield shop
    finally:
        await shop.rpc.close()
        shutdown.set()
        await asyncio.gather(*tasks)
        await broker.close(DEADLINE)
        await database.close()
