"""Many messages through one consumer: whether memory, descriptors or tasks grow.

    python -m benchmarks.soak [ORDERS]

The whole stack runs, each service a process of its own; the order service besides writes down once
a second how many tasks it has. Orders are published with the gateway's keys, as fast as they are
confirmed. After a fifth of them everything is warm: from there to the end nothing may grow. The
exit code says whether something did: by 5 MiB of memory, by ten descriptors or tasks.
"""

import asyncio
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.seal import Sealer
from auth.tokens import AccessClaims, Issuer, new_token_id
from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.errors import MessagingError
from messaging.publisher import Publisher
from services.contracts.orders import OrderLine, PlaceOrder
from services.contracts.topology import GATEWAY, ORDER_SERVICE, USER_SERVICE
from services.local.child import Child
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from services.logs import configure_logging
from services.orders.__main__ import serve
from services.orders.settings import OrderSettings
from services.runtime import run_service

ORDERS: Final = 200_000
WARM: Final = 0.2
AT_ONCE: Final = 100
EACH_USER: Final = 8
"""Orders; then another user, with another carnet: soon more of them than are remembered."""

EVERY: Final = 1.0
PATIENCE: Final = 60.0
FLAT: Final = 5 * 2**20
FEW: Final = 10
REPORT: Final = "CARNET_SOAK_REPORT"


def resident(pid: int) -> int:
    """Resident memory of a process, in bytes (proc(5), statm)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """Open files and sockets of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def replace_text(path: Path, text: str) -> None:
    """Whoever reads it meanwhile reads all of the old text or of the new one."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="ascii")
    new.replace(path)


async def serve_and_report(settings: OrderSettings, shutdown: asyncio.Event) -> None:
    """The order service, and beside it who writes down how many tasks it has."""
    path = Path(os.environ[REPORT])

    async def report() -> None:
        while True:
            replace_text(path, json.dumps({"tasks": len(asyncio.all_tasks())}))
            await asyncio.sleep(EVERY)

    reporting = asyncio.create_task(report())
    try:
        await serve(settings, shutdown)
    finally:
        reporting.cancel()


@dataclass
class Sample:
    """What one service held at one moment."""

    memory: int
    files: int
    tasks: int = 0


@dataclass
class Stock:
    """The services' samples over time."""

    stack: LocalStack
    report: Path
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def look(self) -> None:
        for name, child in self.stack.processes.items():
            pid = child.process.pid
            sample = Sample(resident(pid), descriptors(pid))
            if name == "orders":
                sample.tasks = json.loads(self.report.read_text(encoding="ascii"))["tasks"]
            self.samples.setdefault(name, []).append(sample)

    def print_growth(self) -> bool:
        """Compare the first tenth of the samples with the last; whether nothing has grown."""
        flat = True
        for name, samples in sorted(self.samples.items()):
            some = max(1, len(samples) // 10)
            first, last = _typical(samples[:some]), _typical(samples[-some:])
            grown = last.memory - first.memory
            print(
                f"{name:>8}  memory {first.memory / 2**20:6.1f} to {last.memory / 2**20:6.1f} MiB"
                f" ({grown / 2**20:+.1f})   descriptors {first.files} to {last.files}"
                + (f"   tasks {first.tasks} to {last.tasks}" if last.tasks else "")
            )
            flat &= grown < FLAT
            flat &= last.files - first.files < FEW and last.tasks - first.tasks < FEW
        return flat


def _typical(samples: list[Sample]) -> Sample:
    """The median of memory, and the least of what comes and goes with the work: a leak stays."""
    return Sample(
        int(statistics.median(sample.memory for sample in samples)),
        min(sample.files for sample in samples),
        min(sample.tasks for sample in samples),
    )


class Shoppers:
    """Users made up for this, whose orders are genuine down to carnet and seal."""

    def __init__(self, stack: LocalStack) -> None:
        keys = stack.state / "keys"
        root = TrustRoot.from_json((stack.state / "trust-root.json").read_bytes())
        key_set = root.verify((stack.state / "key-set.jwt").read_text(), now=time.time())
        active = next(kid for kid, key in key_set.issuer_keys.items() if key.state == "active")
        issuer_key = SigningKey.load(keys / USER_SERVICE / "issuer" / f"{active}.pem")
        self._issuer = Issuer(key_set.issuer, issuer_key)
        self._sealer = Sealer(GATEWAY, SigningKey.load(keys / GATEWAY / "seal.pem"))
        self._left = 0
        self._carnet = ""

    def order(self) -> Envelope:
        """The next order, of whoever's turn it is."""
        if not self._left:
            self._carnet = self._new_carnet()
            self._left = EACH_USER
        self._left -= 1
        line = OrderLine(sku="tea", quantity=1, unit_price=Decimal("4.20"))
        command, now = PlaceOrder(lines=(line,), currency="EUR"), time.time()
        seal = self._sealer.command(
            route=PlaceOrder.route,
            audience=ORDER_SERVICE,
            message_id=str(uuid.uuid4()),
            body=command.to_body(),
            carnet=self._carnet,
            now=now,
            expires_at=now + 3600,
        )
        return Envelope.sealed(PlaceOrder.route, command.to_body(), seal=seal, carnet=self._carnet)

    def _new_carnet(self) -> str:
        now = int(time.time())
        parent = AccessClaims(
            iss=self._issuer.name,
            sub=str(uuid.uuid4()),
            aud=GATEWAY,
            client_id=GATEWAY,
            iat=now,
            exp=now + 900,
            jti=new_token_id(),
            scope="orders:write",
            sid=str(uuid.uuid4()),
            epoch=1,
            auth_time=now,
        )
        return self._issuer.carnet(
            parent, actor=GATEWAY, audience=ORDER_SERVICE, scopes=parent.scopes, now=now
        )


def stored(state: Path) -> int:
    """How many orders the order service keeps."""
    database = sqlite3.connect(f"file:{state / 'data' / 'orders.db'}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM orders").fetchone()[0])
    finally:
        database.close()


async def publish(shoppers: Shoppers, publisher: Publisher, count: int) -> None:
    """Publish so many orders, and again what was not confirmed."""
    left = count

    async def some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            order = shoppers.order()
            while True:
                try:
                    await publisher.publish(order, deadline=PATIENCE)
                    break
                except MessagingError as error:
                    print(f"published again: {error}")

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


@asynccontextmanager
async def watched_stack(state: Path) -> AsyncIterator[Stock]:
    """The stack, with an order service that reports."""
    report = state / "report.json"
    async with LocalStack(state, throwaway=True) as stack:
        await stack.stop_service("orders")
        service = stack.services["orders"]
        environment = service.environment(stack.amqp_url(ORDER_SERVICE), None)
        stack.processes["orders"] = await Child.start(
            "orders",
            [sys.executable, "-m", "benchmarks.soak", "orders"],
            env={**environment, REPORT: str(report)},
            cwd=Path.cwd(),
            log=service.log,
        )
        await service.wait_until_ready(stack.processes["orders"])
        yield Stock(stack, report)


async def measure(count: int) -> bool:
    """Whether nothing has grown."""
    with tempfile.TemporaryDirectory(prefix="carnet-bench-") as folder:
        state = Path(folder)
        async with watched_stack(state) as stock:
            broker = await Broker(stock.stack.amqp_url(OPERATOR), name="soak").start(PATIENCE)
            publishing = asyncio.create_task(
                publish(Shoppers(stock.stack), Publisher(broker, client_id=GATEWAY), count)
            )
            began = time.perf_counter()
            while (done := stored(state)) < count:
                if publishing.done():
                    publishing.result()
                if done >= count * WARM:
                    stock.look()
                await asyncio.sleep(EVERY)
            seconds = time.perf_counter() - began
            stock.look()
            await publishing
            await broker.close(PATIENCE)
            print(f"{count:,} orders through one consumer in {seconds:.0f} s")
            return stock.print_growth()


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["orders"]:
        run_service(ORDER_SERVICE, OrderSettings, serve_and_report)
    configure_logging(service="bench", log_format="console", level="error")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    sys.exit(0 if asyncio.run(measure(count)) else 1)


if __name__ == "__main__":
    main()
