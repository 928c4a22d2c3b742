"""Store: orders taken from the queue and stored, on SQLite and on PostgreSQL.

Ours is the order service's own consumer with its outbox relay: verified, once, with its lines, its
event and its place in the user's history, and somebody listens to the events. The peer stores one
row in one transaction for each message. Both commit to disk.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

from benchmarks import filling
from benchmarks.contender import Run
from benchmarks.harness import Bench
from benchmarks.letters import Letter
from messaging.topology import EVENTS
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS
from services.local.logins import OPERATOR

SESSIONS: Final = 50
QUEUE: Final = ORDERS_COMMANDS.name


async def run(bench: Bench) -> None:
    sealed = await bench.letters(bench.settings.messages, sessions=SESSIONS)
    plain = [letter.unsealed() for letter in sealed]

    def database(kind: str) -> AbstractAsyncContextManager[str]:
        return bench.postgres.fresh_database() if kind == "postgres" else _sqlite(bench)

    async def ours(module: str, kind: str) -> Run:
        async with database(kind) as url, filling.listening(bench.operator, EVENTS.name):
            options = bench.ours(database=url)
            return await bench.consumer(module, ORDER_SERVICE, QUEUE, sealed, **options)

    async def peer(kind: str, batch: list[Letter]) -> Run:
        module = "benchmarks.peers.handwritten_store"
        async with database(kind) as url:
            return await bench.consumer(module, OPERATOR, QUEUE, batch, database=url)

    kinds = ["sqlite"]
    if await bench.has_postgres():
        kinds.append("postgres")
    contenders = {"consume": partial(ours, "benchmarks.ours.consume", "sqlite")}
    for kind in kinds:
        contenders[f"{kind}_carnet"] = partial(ours, "benchmarks.ours.store", kind)
        contenders[f"{kind}_handwritten"] = partial(peer, kind, plain)
    runs = await bench.side_by_side("store", contenders)
    for kind in kinds:
        stored = runs[f"{kind}_carnet"]
        bench.ratio(f"store.{kind}_over_handwritten", stored, runs[f"{kind}_handwritten"])
        bench.ratio(f"store.{kind}_over_consume", stored, runs["consume"])


@asynccontextmanager
async def _sqlite(bench: Bench) -> AsyncIterator[str]:
    yield bench.sqlite()
