"""What it costs to spread one work queue over shards: `python -m benchmarks.shards [ROUNDS]`.

Publishes ready-made messages to one queue, then to shards, on a private node, and has one process
of the order service's consumer store as many orders from each. Tells processor time, the broker's
too: on a machine with few cores the clock on the wall says who had to wait for whom.
"""

import asyncio
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

import uvloop

from auth.trust import FixedTrust
from auth.verifier import Verifier
from benchmarks.letters import Keys, make_carnets, order
from benchmarks.ours.service import MIGRATIONS, tell_nobody
from benchmarks.processes import processor_time
from messaging.broker import Broker
from messaging.consumer import ConsumerParts
from messaging.database import open_database
from messaging.envelope import Envelope
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.sharding import Sharding
from messaging.topology import declare
from services.contracts.orders import PlaceOrder
from services.contracts.topology import (
    GATEWAY,
    ORDER_SERVICE,
    orders_commands,
    whole_topology,
)
from services.local.broker import StackBroker, open_broker
from services.local.logins import OPERATOR
from services.local.trust import make_local_trust
from services.logs import configure_logging
from services.orders.app import order_commands
from services.orders.tables import MESSAGING
from services.orders.work import OrderWork

SHARDS: Final = (1, 4, 16, 64)
MESSAGES: Final = 10_000
IN_FLIGHT: Final = 500
SESSIONS: Final = 50
ROUNDS: Final = 3
DEADLINE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one message: microseconds of processor time, ours and the broker's; and on the wall."""

    ours: float
    broker: float
    wall: float


class Bench:
    """A broker with a trust that is fixed."""

    def __init__(self, state: Path, node: StackBroker, broker: Broker) -> None:
        self._state, self._broker = state, broker
        if node.process is None:
            raise ValueError("the broker's own processor time is wanted")
        self._pid = node.process.process.pid
        keys = Keys(state)
        self._key_set, (_, (self._sealer, *_)) = keys.key_set(), keys.load()
        self._carnets = cycle(make_carnets(keys, SESSIONS))

    async def round(self, shards: int) -> tuple[Cost, Cost]:
        """Publish to so many shards, and store what lies there."""
        await declare(self._broker, whole_topology(shards), deadline=DEADLINE)
        envelopes = await asyncio.to_thread(self._envelopes, Sharding(shards))
        publishing = await self._cost(lambda: self._publish(envelopes))
        return publishing, await self._consume(shards)

    async def _publish(self, envelopes: Sequence[Envelope]) -> None:
        publisher, waiting = Publisher(self._broker, client_id=GATEWAY), iter(envelopes)

        async def some() -> None:
            for envelope in waiting:
                await publisher.publish(envelope, deadline=DEADLINE)

        await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))

    async def _consume(self, shards: int) -> Cost:
        url = f"sqlite+aiosqlite:///{self._state / uuid.uuid4().hex}.db"
        await upgrade(url, MIGRATIONS)
        database, done = open_database(url), asyncio.Event()
        consumer, shutdown = order_commands(orders_commands(shards)), asyncio.Event()

        def committed() -> None:
            if consumer.counts["done"] >= MESSAGES - IN_FLIGHT:
                done.set()

        parts = ConsumerParts(
            broker=self._broker,
            publisher=Publisher(self._broker, client_id=ORDER_SERVICE),
            verifier=Verifier(FixedTrust(self._key_set), audience=ORDER_SERVICE),
            database=database,
            tables=MESSAGING,
            unit_of_work=OrderWork,
            on_refused=tell_nobody,
            committed=committed,
            clock=time.time,
            service=ORDER_SERVICE,
        )

        async def consume() -> None:
            async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as running:
                running.create_task(consumer.run(parts, shutdown))
                await done.wait()
                while consumer.counts["done"] < MESSAGES:  # noqa: ASYNC110 - counted, not told
                    await asyncio.sleep(0.001)
                shutdown.set()

        cost = await self._cost(consume)
        await database.close()
        return cost

    async def _cost(self, work: Callable[[], Awaitable[None]]) -> Cost:
        began, ours, brokers = time.perf_counter(), _own_time(), processor_time(self._pid)
        await work()
        spent = (
            _own_time() - ours,
            processor_time(self._pid) - brokers,
            time.perf_counter() - began,
        )
        return Cost(*(seconds / MESSAGES * 1e6 for seconds in spent))

    def _envelopes(self, sharding: Sharding) -> list[Envelope]:
        return [self._envelope(sharding) for _ in range(MESSAGES)]

    def _envelope(self, sharding: Sharding) -> Envelope:
        message_id, body, carnet = str(uuid.uuid4()), order().to_body(), next(self._carnets)
        now = time.time()
        seal = self._sealer.command(
            route=PlaceOrder.route,
            audience=ORDER_SERVICE,
            message_id=message_id,
            body=body,
            carnet=carnet,
            now=now,
            expires_at=now + 3600,
        )
        shard = sharding.shard(about=message_id, subject="")
        return Envelope.sealed(PlaceOrder.route, body, seal=seal, carnet=carnet, shard=shard)


def _own_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(rounds: int) -> None:
    """Each number of shards in turn, so that all meet the same machine."""
    costs: dict[int, list[tuple[Cost, Cost]]] = {shards: [] for shards in SHARDS}
    with tempfile.TemporaryDirectory(prefix="carnet-bench-") as folder:
        state = Path(folder)
        await asyncio.to_thread(make_local_trust, state, None)
        node = await open_broker(state / "broker", given_url=None, tokens=None, say=print)
        broker = await Broker(node.url(OPERATOR), name="bench").start(DEADLINE)
        try:
            for _ in range(rounds):
                bench = Bench(state, node, broker)
                for shards in SHARDS:
                    costs[shards].append(await bench.round(shards))
        finally:
            await broker.close(DEADLINE)
            await node.discard()
    print(f"{MESSAGES} orders, {rounds} rounds, medians: µs of processor time, µs on the wall")
    print("shards   publish: ours  broker    wall   consume: ours  broker    wall")
    for shards, found in costs.items():
        columns = [
            statistics.median(getattr(pair[phase], field) for pair in found)
            for phase in (0, 1)
            for field in ("ours", "broker", "wall")
        ]
        publish, consume = columns[:3], columns[3:]
        print(f"{shards:6}   {_row(publish)}   {_row(consume)}")


def _row(columns: Sequence[float]) -> str:
    return f"{columns[0]:13.0f}{columns[1]:8.0f}{columns[2]:8.0f}"


def main() -> None:
    """Measure and print."""
    configure_logging(service="bench", log_format="console", level="error")
    uvloop.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))


if __name__ == "__main__":
    main()
