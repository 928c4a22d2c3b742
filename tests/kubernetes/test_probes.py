"""The services as the manifests have them started, as processes: the probes find them ready."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest_asyncio

from services.local.child import Child
from services.local.ports import LOOPBACK, free_ports
from services.local.service import CLIENT_OF
from tests.brokers import VhostBroker
from tests.kubernetes.manifests import Deployed, deployed
from tests.kubernetes.pods import Container, Contents

WITHIN = 60.0
"""Seconds: two starts, on a machine that does other things."""


class Pod:
    """One service's process: what the manifest says, but for ports, broker and database."""

    def __init__(self, service: Deployed, contents: Contents, root: Path, amqp_url: str) -> None:
        self._service = service
        self._root = root
        self._ports = dict(zip(service.ports, free_ports(len(service.ports)), strict=True))
        told = Container(service, contents, root).environment
        Path(told["CARNET_AMQP_URL_FILE"]).write_text(amqp_url)
        if "CARNET_DATABASE_URL_FILE" in told:
            Path(told["CARNET_DATABASE_URL_FILE"]).write_text(f"sqlite+aiosqlite:///{root}/its.db")
        local = {"CARNET_HOST": LOOPBACK, "CARNET_PORT": str(self._ports["http"])}
        if "internal" in self._ports:
            local["CARNET_METRICS_PORT"] = str(self._ports["internal"])
        foreign = {k: v for k, v in os.environ.items() if not k.startswith("CARNET_")}
        self._environment = foreign | told | local

    async def start(self) -> Child:
        """As the image does it: its entry point, with the container's arguments."""
        carnet = Path(sys.executable).with_name("carnet")
        return await Child.start(
            self._service.name,
            [str(carnet), *self._service.container["args"]],
            env=self._environment,
            cwd=self._root,
            log=self._root / "log",
        )

    async def asked(self, probe: str) -> int:
        """The status that a probe gets; 0 where nobody answers."""
        get = self._service.container[probe]["httpGet"]
        url = f"http://{LOOPBACK}:{self._ports[get['port']]}{get['path']}"
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            try:
                return (await client.get(url)).status_code
            except httpx.TransportError:
                return 0


@pytest_asyncio.fixture
async def pods(
    contents: Contents, stack_broker: VhostBroker, tmp_path: Path
) -> AsyncIterator[dict[str, tuple[Pod, Child]]]:
    async with AsyncExitStack() as stack:
        started = {}
        for service in deployed():
            root = tmp_path / service.name
            root.mkdir()
            pod = Pod(service, contents, root, stack_broker.url(CLIENT_OF[service.name]))
            child = await pod.start()
            stack.push_async_callback(child.stop, within=WITHIN)
            started[service.name] = (pod, child)
        yield started


async def test_every_probe_of_every_service_is_answered(
    pods: dict[str, tuple[Pod, Child]],
) -> None:
    for name, (pod, child) in pods.items():

        async def ready(pod: Pod = pod) -> bool:
            return await pod.asked("readinessProbe") == httpx.codes.OK

        assert await child.until(ready, every=0.1, within=WITHIN), (name, child.last_line())
        assert await pod.asked("startupProbe") == httpx.codes.OK
        assert await pod.asked("livenessProbe") == httpx.codes.OK
