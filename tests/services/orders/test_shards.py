"""The order consumer's work in four shards: in order, once, whoever is lost meanwhile."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest_asyncio
from sqlalchemy import func, select

from auth.release import LIFTS, sign_release
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import CommandConsumer
from messaging.database import open_database
from messaging.envelope import Envelope
from messaging.inspection import left_shards
from messaging.letters import Letter
from messaging.publisher import Publisher
from messaging.sharding import SHARD, shard_of
from messaging.topology import WorkQueue, declare
from services.contracts.orders import CancelOrder, OrderLine, PlaceOrder
from services.contracts.topology import ORDER_SERVICE, orders_commands, whole_topology
from services.orders.app import order_commands
from services.orders.tables import EVENTS, ORDERS
from tests.messaging.raw import WAIT, Raw, raw_channel, until
from tests.services.orders.shop import Shop, User, open_shop

TEA: Final = PlaceOrder(
    lines=(OrderLine(sku="tea", quantity=2, unit_price=Decimal("4.20")),), currency="EUR"
)
FOUR: Final = orders_commands(4)
MINUTE: Final = 60.0
AT_ONCE: Final = 100
"""Users, who each wait for their last order to be taken."""


@dataclass
class Replica:
    """One process's order consumer, on connections of its own."""

    consumer: CommandConsumer
    broker: Broker
    shutdown: asyncio.Event
    running: asyncio.Task[None]

    @property
    def counts(self) -> Counter[str]:
        return self.consumer.counts

    async def lose(self) -> None:
        """As if it were killed: what it has in hand, the broker gives to others."""
        await self.broker.close(WAIT)
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@asynccontextmanager
async def replica(
    shop: Shop, amqp_url: str, work: WorkQueue = FOUR, shards: Sequence[int] = ()
) -> AsyncIterator[Replica]:
    """Consuming from these shards, or from all."""
    broker = await Broker(amqp_url, name=ORDER_SERVICE).start(WAIT)
    left = await left_shards(broker, work, deadline=WAIT)
    database = open_database(shop.database.url.render_as_string(hide_password=False))
    parts = replace(
        shop.consumer_parts,
        broker=broker,
        publisher=Publisher(broker, client_id=ORDER_SERVICE),
        database=database,
        queues=work.consumed_by(shards),
        left=tuple(left),
    )
    consumer, shutdown = order_commands(work), asyncio.Event()
    running = asyncio.create_task(consumer.run(parts, shutdown))
    await until(lambda: consumer.ready)
    try:
        yield Replica(consumer, broker, shutdown, running)
    finally:
        shutdown.set()
        await asyncio.gather(running, return_exceptions=True)
        await broker.close(WAIT)
        await database.close()


@dataclass
class Sharded:
    """A shop, its broker, and commands for it."""

    shop: Shop
    amqp_url: str
    raw: Raw
    shards: int = 4

    def sealed(self, command: PlaceOrder | CancelOrder, order_id: str, carnet: str) -> Envelope:
        """As a gateway seals it that knows of so many shards."""
        return self.shop.sealed(
            command,
            carnet,
            message_id=order_id if isinstance(command, PlaceOrder) else None,
            shard=None if self.shards == 1 else shard_of(order_id, self.shards),
        )

    async def order(self, count: int) -> None:
        """Place so many, and cancel each as soon as the broker has it."""
        carnets = [self.shop.carnet(User.new()) for _ in range(AT_ONCE)]

        async def one(carnet: str) -> None:
            order_id = str(uuid.uuid4())
            await self.place(order_id, carnet)
            await self.cancel(order_id, carnet)

        for start in range(0, count, AT_ONCE):
            await asyncio.gather(*(one(each) for each in carnets[: count - start]))

    async def place(self, order_id: str, carnet: str) -> None:
        await self.shop.publish(self.sealed(TEA, order_id, carnet))

    async def cancel(self, order_id: str, carnet: str) -> None:
        await self.shop.publish(self.sealed(CancelOrder(order_id=order_id), order_id, carnet))

    async def until_cancelled(self, count: int) -> None:
        async with asyncio.timeout(2 * MINUTE):
            while await self._cancelled() < count:  # noqa: ASYNC110 - a table has no event
                await asyncio.sleep(0.05)

    async def _cancelled(self) -> int:
        async with self.shop.database.session() as session:
            cancelled = select(func.count()).where(ORDERS.c.state == "cancelled")
            return await session.scalar(cancelled) or 0

    async def histories(self) -> Counter[tuple[str, ...]]:
        """How many orders have each history: the types of their events in order."""
        by_order: dict[str, list[str]] = {}
        rows = select(EVENTS.c.order_id, EVENTS.c.type).order_by(
            EVENTS.c.subject, EVENTS.c.sequence
        )
        async with self.shop.database.session() as session:
            for order_id, kind in (await session.execute(rows)).all():
                by_order.setdefault(order_id, []).append(kind)
        return Counter(tuple(kinds) for kinds in by_order.values())


IN_ORDER: Final = ("orders.placed.v1", "orders.cancelled.v1")


@pytest_asyncio.fixture
async def sharded(amqp_url: str, postgres_url: str, tmp_path: Path) -> AsyncIterator[Sharded]:
    """Four shards are declared, and nobody consumes from them."""
    async with (
        open_shop(amqp_url, postgres_url, tmp_path / "state", consume=False) as shop,
        raw_channel(amqp_url) as raw,
    ):
        await declare(shop.consumer_parts.broker, whole_topology(4), deadline=WAIT)
        yield Sharded(shop, amqp_url, raw)


async def test_two_replicas_handle_what_is_in_four_shards_in_order_and_once(
    sharded: Sharded,
) -> None:
    """No cancel even has to wait: it comes to the consumer that has had its order."""
    async with (
        replica(sharded.shop, sharded.amqp_url, shards=[0, 1]) as one,
        replica(sharded.shop, sharded.amqp_url, shards=[2, 3]) as other,
    ):
        await sharded.order(2000)
        await sharded.until_cancelled(2000)
        await until(lambda: (one.counts + other.counts)["done"] == 4000)

    assert one.counts + other.counts == {"done": 4000}
    assert abs(one.counts["done"] - 2000) < 400
    assert await sharded.histories() == {IN_ORDER: 2000}


async def test_one_replica_has_all_shards_by_default(sharded: Sharded) -> None:
    async with replica(sharded.shop, sharded.amqp_url) as alone:
        await sharded.order(100)
        await until(lambda: alone.counts["done"] == 200)

    assert alone.counts == {"done": 200}
    assert await sharded.histories() == {IN_ORDER: 100}


async def test_what_a_lost_replica_had_in_hand_is_handled_by_the_one_in_its_place(
    sharded: Sharded,
) -> None:
    async with (
        replica(sharded.shop, sharded.amqp_url, shards=[0, 1]) as one,
        replica(sharded.shop, sharded.amqp_url, shards=[2, 3]),
    ):
        ordering = asyncio.create_task(sharded.order(500))
        await until(lambda: one.counts["done"] >= 50)
        await one.lose()
        async with replica(sharded.shop, sharded.amqp_url, shards=[0, 1]):
            await ordering
            await sharded.until_cancelled(500)

    assert await sharded.histories() == {IN_ORDER: 500}


async def test_a_replica_is_not_ready_while_one_of_its_shards_is_not_consumed_from(
    sharded: Sharded,
) -> None:
    async with replica(sharded.shop, sharded.amqp_url) as alone:
        await sharded.raw.channel.queue_delete(FOUR.shard(2))
        await until(lambda: not alone.consumer.ready)
        await sharded.order(100)  # the others go on; what has no shard is for all
        await until(lambda: alone.counts["done"] >= 200)
        assert not alone.consumer.ready

        await declare(sharded.shop.consumer_parts.broker, whole_topology(4), deadline=WAIT)
        await until(lambda: alone.consumer.ready)


async def test_a_command_in_the_wrong_shard_is_handled_all_the_same(sharded: Sharded) -> None:
    """Its cancel is elsewhere, arrives first and waits for it."""
    carnet, order_id = sharded.shop.carnet(User.new()), str(uuid.uuid4())
    place = sharded.sealed(TEA, order_id, carnet)
    wrong = str((shard_of(order_id, 4) + 1) % 4)

    async with replica(sharded.shop, sharded.amqp_url) as alone:
        await sharded.cancel(order_id, carnet)
        await until(lambda: alone.counts["retried"] == 1)
        await sharded.shop.publish(replace(place, headers={**place.headers, SHARD: wrong}))
        await sharded.until_cancelled(1)

    assert await sharded.histories() == {IN_ORDER: 1}


async def test_what_waits_for_a_retry_comes_back_to_its_own_shard(sharded: Sharded) -> None:
    order_id = str(uuid.uuid4())
    shard = shard_of(order_id, 4)

    async with replica(sharded.shop, sharded.amqp_url) as alone:
        await sharded.cancel(order_id, sharded.shop.carnet(User.new()))
        await until(lambda: alone.counts["retried"] == 1)

    await sharded.raw.until_count(FOUR.shard(shard), 1)


async def test_a_released_dead_letter_comes_back_to_its_own_shard(sharded: Sharded) -> None:
    order_id, old = str(uuid.uuid4()), time.time() - 25 * 3600
    shard = shard_of(order_id, 4)
    carnet = sharded.shop.carnet(User.new(), issued_at=old)
    late = sharded.shop.sealed(TEA, carnet, message_id=order_id, accepted_at=old, shard=shard)

    async with replica(sharded.shop, sharded.amqp_url):
        await sharded.shop.publish(late)
        dead = await sharded.shop.next_dead_letter()
    assert dead.headers["carnet-queue"] == FOUR.shard(shard)

    letter = Letter(dead.body, dead.type, dead.content_type, dead.headers)
    await sharded.shop.publish(letter.released(FOUR, released(sharded.shop, letter)))
    await sharded.raw.until_count(FOUR.shard(shard), 1)
    async with replica(sharded.shop, sharded.amqp_url) as alone:
        await until(lambda: alone.counts["done"] == 1)
    assert await sharded.histories() == {("orders.refused.v1", "orders.placed.v1"): 1}


async def test_nothing_is_lost_and_all_stays_in_order_while_one_shard_becomes_four(
    amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """A backlog waits in the old queue; gateways of before and after publish at the same time."""
    async with (
        open_shop(amqp_url, postgres_url, tmp_path / "state", consume=False) as shop,
        raw_channel(amqp_url) as raw,
    ):
        before, after = Sharded(shop, amqp_url, raw, 1), Sharded(shop, amqp_url, raw, 4)
        carnets = {str(uuid.uuid4()): shop.carnet(User.new()) for _ in range(200)}
        await asyncio.gather(*(before.place(*each) for each in carnets.items()))
        async with replica(shop, amqp_url, orders_commands(1)) as old:
            ordering = [asyncio.create_task(before.order(200))]
            await until(lambda: old.counts["done"] > 0)
            await declare(shop.consumer_parts.broker, whole_topology(4), deadline=WAIT)
            async with replica(shop, amqp_url):
                # These come to their shards while their orders may wait in the old queue.
                ordering += [asyncio.create_task(after.cancel(*each)) for each in carnets.items()]
                ordering.append(asyncio.create_task(after.order(200)))
                old.shutdown.set()
                await old.running
                await asyncio.gather(*ordering)
                await after.until_cancelled(600)
                assert await raw.count(orders_commands(1).name) == 0

        assert await after.histories() == {IN_ORDER: 600}


async def test_what_is_left_in_shards_that_are_none_any_more_is_handled(sharded: Sharded) -> None:
    """As after a restart with the smaller number, whatever nobody had consumed before."""
    await sharded.order(100)
    await declare(sharded.shop.consumer_parts.broker, whole_topology(1), deadline=WAIT)
    one = Sharded(sharded.shop, sharded.amqp_url, sharded.raw, 1)

    async with replica(sharded.shop, sharded.amqp_url, orders_commands(1)):
        await one.order(100)
        await one.until_cancelled(200)

    assert await one.histories() == {IN_ORDER: 200}


async def test_a_shard_that_is_none_any_more_may_be_deleted_under_who_consumes_from_it(
    sharded: Sharded,
) -> None:
    await declare(sharded.shop.consumer_parts.broker, whole_topology(1), deadline=WAIT)
    one = Sharded(sharded.shop, sharded.amqp_url, sharded.raw, 1)

    async with replica(sharded.shop, sharded.amqp_url, orders_commands(1)) as alone:
        for number in reversed(range(4)):
            await sharded.raw.channel.queue_delete(FOUR.shard(number))
        subscriptions = alone.consumer._subscriptions
        assert subscriptions is not None
        await until(lambda: sum(each.registration is not None for each in subscriptions.each) == 1)
        await until(lambda: alone.consumer.ready)
        await one.order(10)
        await one.until_cancelled(10)

    assert await one.histories() == {IN_ORDER: 10}


def released(shop: Shop, letter: Letter) -> str:
    """What the issuer states for an operator."""
    seal, now = letter.unverified_seal or "", time.time()
    verified = Verifier(FixedTrust(shop.key_set), audience=ORDER_SERVICE).letter(
        letter.unverified_carnet, seal, frozenset(LIFTS), now=now
    )
    return sign_release(
        verified,
        seal,
        issuer=shop.key_set.issuer,
        key=shop.issuer._key,
        what="release",
        lift=("age", "expiry"),
        by=str(uuid.uuid4()),
        now=now,
    )
