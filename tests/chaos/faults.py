"""Every fault: what it does to which part, for how long, and how it heals. `TABLE` lists them."""

import asyncio
import random
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, Literal

from services.contracts.topology import ORDERS_COMMANDS
from services.local.service import CLIENTS
from tests.chaos.broker import ClusterBroker, SingleBroker
from tests.chaos.controls import Point
from tests.chaos.databases import PostgresDatabases, SqliteDatabases
from tests.chaos.fleet import Replica
from tests.chaos.scenes import SCENES, Scene
from tests.chaos.stage import Stage
from tests.clusters import NODES, Cluster

Area = Literal["process", "network", "broker", "database", "clock", "message"]

FIRES_WITHIN: Final = 20.0
"""Seconds for a process to come to the point where it is to die."""


class Fault(ABC):
    """One fault of one kind. It is made anew for each time that it strikes."""

    area: ClassVar[Area]
    hold: tuple[float, float] = (0.0, 0.0)
    """Least and most seconds until it heals."""

    def __init__(self, rng: random.Random) -> None:
        """`rng`: its own, so that what it strikes follows from the seed alone."""
        self.rng = rng
        self.seconds = round(rng.uniform(*self.hold), 1)
        self.target = ""
        """What it struck, for the report."""
        self.struck = True
        """False where it found nothing to strike."""

    def possible(self, stage: Stage) -> bool:  # noqa: ARG002 - most are, everywhere
        """Whether this stage has what it strikes."""
        return True

    @abstractmethod
    async def strike(self, stage: Stage) -> None:
        """Begin."""

    async def heal(self, stage: Stage) -> None:  # noqa: B027 - much heals by itself
        """Put right what was broken. What ended is started again by the fleet itself."""

    def one_of(self, replicas: Sequence[Replica]) -> Replica:
        chosen = self.rng.choice(list(replicas))
        self.target = chosen.name
        return chosen


class Kill(Fault):
    """SIGKILL to one process of a service, at any moment. The fleet starts another."""

    area = "process"

    def __init__(self, rng: random.Random, service: str) -> None:
        super().__init__(rng)
        self._service = service

    async def strike(self, stage: Stage) -> None:
        self.one_of(stage.fleet.of(self._service)).signal(signal.SIGKILL)


class KillAt(Fault):
    """SIGKILL to one process of a service just where two steps meet. The fleet starts another."""

    area = "process"

    def __init__(self, rng: random.Random, service: str, point: Point) -> None:
        super().__init__(rng)
        self._service = service
        self._point = point
        self._passes = rng.randint(1, 5)

    async def strike(self, stage: Stage) -> None:
        replicas = stage.fleet.of(self._service)
        replica = self.one_of(replicas)
        replica.controls.arm(self._point, self._passes)
        try:
            async with asyncio.timeout(FIRES_WITHIN):
                while replica.controls.armed:  # noqa: ASYNC110 - it dies, and says nothing
                    await asyncio.sleep(0.05)
        except TimeoutError:
            replica.controls.disarm()
            self.struck = False


class Terminate(Fault):
    """SIGTERM to one process. It drains; the fleet starts another."""

    area = "process"

    async def strike(self, stage: Stage) -> None:
        replica = self.one_of(stage.fleet.replicas)
        runs = replica.runs
        replica.signal(signal.SIGTERM)
        await replica.until_ready(after=runs)


class RollingRestart(Fault):
    """SIGTERM to every process, one after the other, each once the one before is ready again."""

    area = "process"

    async def strike(self, stage: Stage) -> None:
        self.target = "all"
        for replica in self.rng.sample(stage.fleet.replicas, len(stage.fleet.replicas)):
            runs = replica.runs
            replica.signal(signal.SIGTERM)
            await replica.until_ready(after=runs)


class KillBroker(Fault):
    """SIGKILL to the broker; it is started again on what it had on disk."""

    area = "broker"
    hold = (1.0, 8.0)

    def possible(self, stage: Stage) -> bool:
        return isinstance(stage.broker, SingleBroker)

    async def strike(self, stage: Stage) -> None:
        await self.node(stage).kill()

    async def heal(self, stage: Stage) -> None:
        await self.node(stage).start()

    @staticmethod
    def node(stage: Stage) -> SingleBroker:
        if not isinstance(stage.broker, SingleBroker):
            raise TypeError("not on one node")
        return stage.broker


class _ClusterFault(Fault):
    area = "broker"

    def possible(self, stage: Stage) -> bool:
        return isinstance(stage.broker, ClusterBroker)

    @staticmethod
    def cluster(stage: Stage) -> Cluster:
        if not isinstance(stage.broker, ClusterBroker):
            raise TypeError("not on a cluster")
        return stage.broker.cluster


class KillNode(_ClusterFault):
    """SIGKILL to a node of the cluster; it is started again on what it had on disk."""

    hold = (2.0, 25.0)

    def __init__(self, rng: random.Random, *, leading: bool) -> None:
        """`leading`: the one that leads the work queue, else any."""
        super().__init__(rng)
        self._leading = leading

    async def strike(self, stage: Stage) -> None:
        cluster = self.cluster(stage)
        if self._leading:
            self.target = await cluster.leader(ORDERS_COMMANDS.name)
        else:
            self.target = self.rng.choice(NODES)
        await cluster.kill_node(self.target)

    async def heal(self, stage: Stage) -> None:
        await self.cluster(stage).start_node(self.target)
        await self.cluster(stage).until_whole()


class HangNode(_ClusterFault):
    """A node of the cluster stands still, its connections open; then it goes on."""

    hold = (4.0, 35.0)

    async def strike(self, stage: Stage) -> None:
        self.target = self.rng.choice(NODES)
        await self.cluster(stage).pause_node(self.target)

    async def heal(self, stage: Stage) -> None:
        await self.cluster(stage).resume_node(self.target)
        await self.cluster(stage).until_open()


class MemoryAlarm(Fault):
    """The broker finds itself short of memory and reads no more from publishers."""

    area = "broker"
    hold = (6.0, 14.0)

    async def strike(self, stage: Stage) -> None:
        await stage.broker.raise_alarm()

    async def heal(self, stage: Stage) -> None:
        await stage.broker.clear_alarm()


class Cut(Fault):
    """Every connection of one service to the broker breaks, a few times. It may come again."""

    area = "network"

    async def strike(self, stage: Stage) -> None:
        service = self.rng.choice(("users", "orders", "gateway"))
        self.target = service
        for _ in range(self.rng.randint(1, 4)):
            for proxy in stage.fleet.ways_to_broker(service):
                proxy.cut()
            await asyncio.sleep(self.rng.uniform(0.05, 1.0))


class Latency(Fault):
    """What a service and the broker say to each other comes late. Later it comes in time."""

    area = "network"
    hold = (5.0, 10.0)

    async def strike(self, stage: Stage) -> None:
        service = self.rng.choice(("users", "orders", "gateway"))
        late = self.rng.uniform(0.1, 0.6)
        self.target = f"{service}, {late * 1000:.0f} ms"
        for proxy in stage.fleet.ways_to_broker(service):
            proxy.latency = late

    async def heal(self, stage: Stage) -> None:
        for proxy in stage.fleet.ways_to_broker(*CLIENTS):
            proxy.latency = 0.0


class Stall(Fault):
    """Nothing comes through between one process and the broker, though all stays connected."""

    area = "network"
    hold = (4.0, 35.0)

    async def strike(self, stage: Stage) -> None:
        for proxy in self.one_of(stage.fleet.replicas).broker:
            proxy.stall()

    async def heal(self, stage: Stage) -> None:
        for proxy in stage.fleet.ways_to_broker(*CLIENTS):
            proxy.resume()


class _PostgresFault(Fault):
    area = "database"

    def possible(self, stage: Stage) -> bool:
        return isinstance(stage.databases, PostgresDatabases)

    @staticmethod
    def server(stage: Stage) -> PostgresDatabases:
        if not isinstance(stage.databases, PostgresDatabases):
            raise TypeError("not on PostgreSQL")
        return stage.databases


class KillPostgres(_PostgresFault):
    """SIGKILL to PostgreSQL; it is started again and recovers."""

    hold = (1.0, 6.0)

    async def strike(self, stage: Stage) -> None:
        await self.server(stage).kill()

    async def heal(self, stage: Stage) -> None:
        await self.server(stage).revive()


class PausePostgres(_PostgresFault):
    """PostgreSQL stands still, its connections open; then it goes on."""

    hold = (3.0, 12.0)

    async def strike(self, stage: Stage) -> None:
        await self.server(stage).pause()

    async def heal(self, stage: Stage) -> None:
        await self.server(stage).go_on()


class ReadOnlyPostgres(_PostgresFault):
    """PostgreSQL takes no writes, as a standby would after a failover; then it does again."""

    hold = (4.0, 10.0)

    async def strike(self, stage: Stage) -> None:
        await self.server(stage).read_only(only=True)

    async def heal(self, stage: Stage) -> None:
        await self.server(stage).read_only(only=False)


class LockPostgres(_PostgresFault):
    """Somebody holds a lock on the tables that the order service writes to; then lets go."""

    hold = (4.0, 12.0)

    async def strike(self, stage: Stage) -> None:
        self.target = self.rng.choice(("inbox", "orders", "outbox", "event_sequences"))
        await self.server(stage).lock("orders", self.target)

    async def heal(self, stage: Stage) -> None:
        await self.server(stage).unlock()


class SlowPostgres(_PostgresFault):
    """What one service and its database say to each other comes late. Later it comes in time."""

    hold = (5.0, 10.0)

    async def strike(self, stage: Stage) -> None:
        self.target = self.rng.choice(("users", "orders", "gateway"))
        self.server(stage).proxies[self.target].latency = self.rng.uniform(0.05, 0.3)

    async def heal(self, stage: Stage) -> None:
        for proxy in self.server(stage).proxies.values():
            proxy.latency = 0.0


class _SqliteFault(Fault):
    area = "database"

    def possible(self, stage: Stage) -> bool:
        return isinstance(stage.databases, SqliteDatabases)

    @staticmethod
    def files(stage: Stage) -> SqliteDatabases:
        if not isinstance(stage.databases, SqliteDatabases):
            raise TypeError("not on SQLite")
        return stage.databases


class LockSqlite(_SqliteFault):
    """Somebody holds the write lock for longer than the services wait for it; then lets go."""

    hold = (6.0, 14.0)

    async def strike(self, stage: Stage) -> None:
        self.target = self.rng.choice(("orders", "gateway", "users"))
        await self.files(stage).lock(self.target, hold=0, pause=None)

    async def heal(self, stage: Stage) -> None:
        await self.files(stage).unlock()


class SlowSqlite(_SqliteFault):
    """Somebody else writes to the order service's file, half a second each time; then no more."""

    hold = (6.0, 10.0)

    async def strike(self, stage: Stage) -> None:
        self.target = "orders"
        await self.files(stage).lock("orders", hold=0.5, pause=0.05)

    async def heal(self, stage: Stage) -> None:
        await self.files(stage).unlock()


class FullDisk(_SqliteFault):
    """No byte is free on the disk of the order service's file; then there is room again."""

    hold = (4.0, 10.0)

    def possible(self, stage: Stage) -> bool:
        return super().possible(stage) and self.files(stage).small_disk

    async def strike(self, stage: Stage) -> None:
        self.target = "orders"
        await self.files(stage).fill_disk()

    async def heal(self, stage: Stage) -> None:
        await self.files(stage).empty_disk()


class ClockJump(Fault):
    """The clock of one service jumps and later jumps back."""

    area = "clock"
    hold = (4.0, 15.0)

    def __init__(self, rng: random.Random, least: float, most: float) -> None:
        super().__init__(rng)
        self._by = round(rng.uniform(least, most))

    async def strike(self, stage: Stage) -> None:
        service = self.rng.choice(("users", "orders", "gateway"))
        self.target = f"{service}, {self._by:+d} s"
        for replica in stage.fleet.of(service):
            replica.controls.shift = self._by

    async def heal(self, stage: Stage) -> None:
        for replica in stage.fleet.replicas:
            replica.controls.shift = 0.0


class Duplicates(Fault):
    """Commands that passed are published again as they were, some of them several times."""

    area = "message"

    async def strike(self, stage: Stage) -> None:
        times = self.rng.randint(1, 4)
        taken = await stage.mallory.send_again(self.rng, count=50, times=times)
        self.target = f"{taken} copies"
        self.struck = taken > 0


@dataclass(frozen=True)
class Entry:
    """A kind of fault: its name, and how one is made.

    on: the scenes that it exists in.
    short: whether it strikes in a short run too.
    """

    name: str
    make: Callable[[random.Random], Fault]
    on: tuple[Scene, ...] = tuple(SCENES)
    short: bool = False


def _kill(service: str) -> Callable[[random.Random], Fault]:
    return lambda rng: Kill(rng, service)


def _kill_at(service: str, point: Point) -> Callable[[random.Random], Fault]:
    return lambda rng: KillAt(rng, service, point)


def _jump(least: float, most: float) -> Callable[[random.Random], Fault]:
    return lambda rng: ClockJump(rng, least, most)


_FILES: Final[tuple[Scene, ...]] = ("sqlite", "cluster")

TABLE: Final[tuple[Entry, ...]] = (
    Entry("users killed", _kill("users")),
    Entry("orders killed", _kill("orders")),
    Entry("gateway killed", _kill("gateway"), short=True),
    Entry(
        "killed between effect and commit", _kill_at("orders", Point.ORDER_UNCOMMITTED), short=True
    ),
    Entry(
        "killed between commit and relay", _kill_at("orders", Point.COMMIT_UNRELAYED), short=True
    ),
    Entry(
        "killed between effect and acknowledgement",
        _kill_at("orders", Point.EFFECT_UNACKNOWLEDGED),
        short=True,
    ),
    Entry("killed between event and its removal", _kill_at("orders", Point.EVENT_CONFIRMED)),
    Entry("killed between copy and acknowledgement", _kill_at("orders", Point.COPY_CONFIRMED)),
    Entry("killed between key and publish", _kill_at("gateway", Point.COMMAND_UNSENT)),
    Entry(
        "killed between confirm and 202", _kill_at("gateway", Point.COMMAND_CONFIRMED), short=True
    ),
    Entry("killed between act and reply", _kill_at("users", Point.REPLY_UNSENT), short=True),
    Entry("terminated", Terminate, short=True),
    Entry("rolling restart", RollingRestart),
    Entry("broker killed", KillBroker, on=("postgres", "sqlite"), short=True),
    Entry("node killed", partial(KillNode, leading=False), on=("cluster",)),
    Entry("leading node killed", partial(KillNode, leading=True), on=("cluster",)),
    Entry("node hung", HangNode, on=("cluster",)),
    Entry("broker short of memory", MemoryAlarm),
    Entry("connections cut", Cut, short=True),
    Entry("slow network", Latency),
    Entry("silent network", Stall),
    Entry("PostgreSQL killed", KillPostgres, on=("postgres",)),
    Entry("PostgreSQL stands still", PausePostgres, on=("postgres",)),
    Entry("PostgreSQL read-only", ReadOnlyPostgres, on=("postgres",)),
    Entry("PostgreSQL table locked", LockPostgres, on=("postgres",)),
    Entry("slow PostgreSQL", SlowPostgres, on=("postgres",)),
    Entry("SQLite locked", LockSqlite, on=_FILES, short=True),
    Entry("slow SQLite", SlowSqlite, on=_FILES),
    Entry("disk full", FullDisk, on=_FILES, short=True),
    Entry("clock a little ahead", _jump(5, 25)),
    Entry("clock a little behind", _jump(-25, -5)),
    Entry("clock far ahead", _jump(60, 400)),
    Entry("clock far behind", _jump(-400, -60), short=True),
    Entry("duplicates", Duplicates, short=True),
)
