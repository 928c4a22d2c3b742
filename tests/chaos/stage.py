"""The whole system under attack: broker, databases, services, customers, and Mallory."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth.keyset import TrustRoot
from services.demo.forgeries import ForgersKeys
from services.local.logins import OPERATOR
from services.local.trust import make_local_trust
from tests.chaos.broker import ChaosBroker
from tests.chaos.databases import Databases
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.mallory import Mallory, keep_events
from tests.chaos.scenes import SCENES, Scene

CUSTOMERS: Final = 20
WORKERS: Final = 40


@dataclass
class Stage:
    """All the parts, running."""

    broker: ChaosBroker
    databases: Databases
    fleet: Fleet
    load: Load
    mallory: Mallory
    ledger: Ledger

    @property
    def operator_url(self) -> str:
        """The broker's, by one node, for who may read everything while nothing is broken."""
        return _operator_url(self.broker)


@asynccontextmanager
async def set_stage(state: Path, scene: Scene, *, seed: str, rate: float) -> AsyncIterator[Stage]:
    """Start everything in an empty folder; end it, and what it held, afterwards."""
    for folder in (state, state / "logs", state / "data"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    await asyncio.to_thread(make_local_trust, state)
    ledger = Ledger()
    databases = SCENES[scene].databases(state / "data")
    broker = SCENES[scene].broker(state / "broker")
    fleet = Fleet(state, broker, databases)
    load = Load(fleet.gateways, ledger, seed=seed, rate=rate, workers=WORKERS)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(databases.stop)
        await databases.start()
        stack.push_async_callback(broker.discard)
        await broker.start()
        stack.push_async_callback(fleet.stop)
        await fleet.start(state, broker)
        await keep_events(_operator_url(broker))
        mallory = _mallory(state, broker, ledger)
        stack.push_async_callback(mallory.stop)
        await mallory.start()
        stack.push_async_callback(load.close)
        await load.open(CUSTOMERS)
        yield Stage(broker, databases, fleet, load, mallory, ledger)


def _operator_url(broker: ChaosBroker) -> str:
    return broker.url(OPERATOR, [broker.address(0)[1]])


def _mallory(state: Path, broker: ChaosBroker, ledger: Ledger) -> Mallory:
    root = TrustRoot.from_json((state / "trust-root.json").read_bytes())
    statement = (state / "key-set.jwt").read_text(encoding="ascii")
    key_set = root.verify(statement, now=time.time())
    keys = ForgersKeys.load(state / "keys", key_set, None)
    return Mallory(broker.url(OPERATOR), key_set, keys, ledger)
