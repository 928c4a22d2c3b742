"""The services as processes, kept running: what ends is started again, as an orchestrator would."""

import asyncio
import signal
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from services.local.child import Child
from services.local.ports import LOOPBACK, free_ports
from services.local.service import CLIENTS, DRAIN_WITHIN, Service
from tests.chaos.broker import ChaosBroker
from tests.chaos.controls import VARIABLE, Controls
from tests.chaos.databases import Databases
from tests.chaos.proxy import Proxy

ROOT: Final = Path(__file__).parents[2]
AGAIN_AFTER: Final = 0.5
"""Seconds until a process that ended is started again."""

READY_WITHIN: Final = 600.0
"""On a machine that does much else, a start takes long and may have to be tried again."""

START_DEADLINE: Final = 90
ANSWER_WITHIN: Final = 5.0
LOOK_EVERY: Final = 0.3
BEYOND_DRAIN: Final = 10.0


class NotReadyError(Exception):
    """A process did not become ready, though nothing is broken any more."""


@dataclass
class Replica:
    """One process of a service: its controls, its way to the broker, its ends so far."""

    name: str
    service: Service
    controls: Controls
    broker: list[Proxy]
    """One for each node of it."""
    environment: dict[str, str]
    logs: Path
    http: httpx.AsyncClient
    child: Child | None = None
    runs: int = 0
    wanted: bool = False
    gave_up: list[str] = field(default_factory=list)
    """The last words of each run that ended by itself."""

    async def start(self) -> None:
        """Start a run of it."""
        self.runs += 1
        self.child = await Child.start(
            self.name,
            [sys.executable, "-m", "tests.chaos.child", self.service.name],
            env=self.environment,
            cwd=ROOT,
            log=self.logs / f"{self.name}.{self.runs:02}.log",
        )

    async def ready(self) -> bool:
        """Whether it says that it does its work."""
        try:
            answer = await self.http.get(f"{self.service.url}/health/ready")
        except httpx.TransportError:
            return False
        return answer.is_success

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.child is not None and self.child.running:
            self.child.process.send_signal(number)

    async def until_ready(self, after: int = 0) -> None:
        """Wait until a run later than number `after` is ready.

        Raises:
            NotReadyError: none is, in a time in which it should be.
        """
        try:
            async with asyncio.timeout(READY_WITHIN):
                while self.runs <= after or not await self.ready():  # noqa: ASYNC110 - over HTTP
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError as error:
            raise NotReadyError(f"{self.name} is not ready after {READY_WITHIN:.0f} s") from error

    async def keep(self) -> None:
        """Start it, and again whenever it ends, while it is wanted."""
        self.wanted = True
        while self.wanted:
            await self.start()
            if self.child is None:
                raise RuntimeError("it was not started")
            code = await self.child.process.wait()
            if code > 0:
                self.gave_up.append(self.child.last_line())
            await asyncio.sleep(AGAIN_AFTER)

    async def end(self) -> bool:
        """Let it drain and end for good; whether it went by itself, and in time."""
        self.wanted = False
        return self.child is None or await self.child.stop(within=DRAIN_WITHIN + BEYOND_DRAIN)


class Fleet:
    """All processes of all services."""

    def __init__(self, state: Path, broker: ChaosBroker, databases: Databases) -> None:
        self._databases = databases
        self._keepers: list[asyncio.Task[None]] = []
        self._http = httpx.AsyncClient(timeout=ANSWER_WITHIN, trust_env=False)
        names = [
            (service, number) for service in CLIENTS for number in range(1, databases.replicas + 1)
        ]
        (state / "controls").mkdir()
        self.replicas = [
            self._replica(service, number, port, state, broker)
            for (service, number), port in zip(names, free_ports(len(names)), strict=True)
        ]

    def _replica(
        self, service: str, number: int, port: int, state: Path, broker: ChaosBroker
    ) -> Replica:
        name = f"{service}-{number}"
        return Replica(
            name=name,
            service=Service(service, state, LOOPBACK, port),
            controls=Controls(state / "controls" / name),
            broker=[Proxy(partial(broker.address, node)) for node in range(broker.nodes)],
            environment={},
            logs=state / "logs",
            http=self._http,
        )

    def of(self, *services: str) -> list[Replica]:
        """The replicas of some services."""
        return [replica for replica in self.replicas if replica.service.name in services]

    def ways_to_broker(self, *services: str) -> list[Proxy]:
        """The proxies between some services and the broker."""
        return [proxy for replica in self.of(*services) for proxy in replica.broker]

    @property
    def gateways(self) -> list[str]:
        """Where clients find the gateways."""
        return [replica.service.url for replica in self.of("gateway")]

    async def start(self, state: Path, broker: ChaosBroker) -> None:
        """Start all; return when every one is ready.

        The first of each service goes ahead, so that one alone makes its tables.
        """
        for replica in self.replicas:
            await asyncio.gather(*(proxy.start() for proxy in replica.broker))
            ports = [proxy.port for proxy in replica.broker]
            service = replica.service
            replica.environment = {
                **service.environment(broker.url(service.client_id, ports), None),
                "CARNET_DATABASE_URL": self._databases.url(service.name),
                "CARNET_TRUST_STATE": str(state / "trust" / replica.name),
                "CARNET_REGISTRATIONS_PER_ORIGIN": "0",
                "CARNET_START_DEADLINE": str(START_DEADLINE),
                VARIABLE: str(state / "controls" / replica.name),
            }
        for wave in ([r for r in self.replicas if r.name.endswith("-1")], self.replicas):
            self._keepers += [
                asyncio.create_task(replica.keep(), name=replica.name)
                for replica in wave
                if not replica.wanted
            ]
            # A task that begins sets what it wants first.
            await asyncio.sleep(0)
            await asyncio.gather(*(replica.until_ready() for replica in wave))

    async def until_ready(self) -> None:
        """Wait until every replica does its work."""
        await asyncio.gather(*(replica.until_ready() for replica in self.replicas))

    async def drain(self) -> list[str]:
        """End all gracefully, the gateways first; those that did not go by themselves."""
        late = []
        for service in reversed(CLIENTS):
            replicas = self.of(service)
            went = await asyncio.gather(*(replica.end() for replica in replicas))
            late += [r.name for r, by_itself in zip(replicas, went, strict=True) if not by_itself]
        return late

    async def stop(self) -> None:
        """End whatever runs, at once."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for replica in self.replicas:
            replica.wanted = False
            if replica.child is not None:
                await replica.child.kill()
            await asyncio.gather(*(proxy.stop() for proxy in replica.broker))
            replica.controls.close()
        await self._http.aclose()
