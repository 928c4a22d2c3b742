"""System: from the first HTTP request to the last order stored, both on SQLite.

Carnet, whole: gateway, broker, order service, user service. Beside it what people do today: a
gateway that calls an order service over HTTP, which asks a user service about every request
(RFC 7662). There an order is stored when its request is answered; with Carnet later, so its end
is when the order service's database holds all. Memory and processor time are those of each side's
three services, without the broker.
"""

import asyncio
import secrets
import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import filling, web
from benchmarks.contender import Run
from benchmarks.harness import Bench, ContenderError
from benchmarks.processes import processor_time
from services.contracts.topology import ORDERS_COMMANDS
from services.local.stack import LocalStack

LOOK: Final = 0.02
STORED_WITHIN: Final = 300.0
PEERS: Final = "benchmarks.peers"


@dataclass(frozen=True, slots=True)
class System:
    """Where it is asked, with which tokens, by which processes, and where its orders are.

    through_broker: whether the broker takes part.
    """

    url: str
    tokens: Sequence[str]
    pids: Sequence[int]
    orders: Path
    through_broker: bool

    async def measure(self, bench: Bench, count: int) -> Run:
        """Put so many orders, and wait until all are stored."""
        wanted = self.stored() + count
        before, broker = self._spent(), bench.broker_time()
        run, _ = await web.put(bench, self.url, self.tokens, count, self.pids)
        answered = self.stored()
        async with asyncio.timeout(STORED_WITHIN):
            while self.stored() < wanted:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(LOOK)
        if (stored := self.stored()) != wanted:
            raise ContenderError(f"{stored - wanted} orders too many are stored")
        ended = run.ended if answered == wanted else time.monotonic()
        measured = replace(run, ended=ended, cpu=self._spent() - before)
        return measured.with_broker(broker, bench.broker_time() if self.through_broker else None)

    def stored(self) -> int:
        """How many orders there are."""
        database = sqlite3.connect(f"file:{self.orders}?mode=ro", uri=True)
        try:
            return int(database.execute("SELECT count(*) FROM orders").fetchone()[0])
        finally:
            database.close()

    def _spent(self) -> float:
        return sum(processor_time(pid) for pid in self.pids)


async def run(bench: Bench) -> None:
    path, users = bench.fresh_path("peer-orders.db"), bench.fresh_path("peer-users.db")
    tokens = {str(uuid.uuid4()): secrets.token_urlsafe(32) for _ in range(bench.settings.users)}
    login = {"client": "orders", "secret": secrets.token_urlsafe(32)}
    server = partial(web.server, bench)
    # What came back of another case's channel after its queue was looked at.
    await filling.purge(bench.operator, ORDERS_COMMANDS.name)
    async with (
        LocalStack(bench.state, broker=bench.broker) as stack,
        server(
            f"{PEERS}.http_users", database=f"sqlite+aiosqlite:///{users}", tokens=tokens, **login
        ) as (users_url, users_peer),
        server(
            f"{PEERS}.http_orders",
            database=f"sqlite+aiosqlite:///{path}",
            users=users_url,
            **login,
        ) as (orders_url, orders_peer),
        server(f"{PEERS}.http_gateway", orders=orders_url) as (url, gateway_peer),
    ):
        systems = {
            "carnet": System(
                stack.gateway_url,
                await web.sign_in(stack.gateway_url, bench.settings.users),
                [child.process.pid for child in stack.processes.values()],
                bench.state / "data" / "orders.db",
                through_broker=True,
            ),
            "http_introspection": System(
                url,
                list(tokens.values()),
                [peer.pid for peer in (users_peer, orders_peer, gateway_peer)],
                path,
                through_broker=False,
            ),
        }
        if not bench.settings.quick:
            for system in systems.values():
                await system.measure(bench, web.WARM)
        runs = await bench.side_by_side(
            "system",
            {
                name: partial(system.measure, bench, bench.settings.messages)
                for name, system in systems.items()
            },
        )
    bench.ratio("system.carnet_over_http_introspection", *runs.values())
