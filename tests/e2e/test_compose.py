"""The compose files as an operator uses them: secrets, up, the demo against it, down.

One broker with three replicas of a service, and a cluster of three brokers that loses one.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from services.local.command import Finished, run
from services.local.compose_secrets import AMQP_PORT, make_secrets
from services.local.logins import OPERATOR
from services.local.ports import LOOPBACK, free_ports, is_free
from tests.engine import POSTGRES_IMAGE, RABBITMQ_IMAGE, UnavailableError, require_image

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = (RABBITMQ_IMAGE, POSTGRES_IMAGE, "python:3.13-slim")
UP_WITHIN: Final = 600.0
DEMO_WITHIN: Final = 90.0
PASSWORD: Final = "correct-horse-battery-staple"
SERVED_WITHIN: Final = 60.0
"""Seconds after the loss of a node within which the demo passes again."""

pytestmark = pytest.mark.timeout(900)


class Compose:
    """The project under a name and on ports of its own, with secrets in a folder of its own."""

    def __init__(self, secrets: Path, *files: str) -> None:
        self.secrets = secrets
        self.amqp_port, management_port, self.console_port = free_ports(3)
        self.ports = _two_ports()
        """Of the gateway; the second one is of its second replica in a cluster."""
        self._files = [argument for file in files for argument in ("--file", str(ROOT / file))]
        self._env = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"carnet-test-{self.ports[0]}",
            "CARNET_SECRETS": str(secrets),
            "CARNET_PORT": str(self.ports[0]),
            "CARNET_SECOND_PORT": str(self.ports[1]),
            "CARNET_CONSOLE_PORT": str(self.console_port),
            "CARNET_AMQP_PORT": str(self.amqp_port),
            "CARNET_MANAGEMENT_PORT": str(management_port),
            "DOCKER_BUILDKIT": "0",
        }

    async def run(self, *arguments: str) -> Finished:
        """`docker compose …`."""
        return await run(
            *("docker", "compose", "--project-directory", str(ROOT), *self._files, *arguments),
            within=UP_WITHIN,
            env=self._env,
        )

    async def up(self) -> None:
        """Build it, and start all of it."""
        up = await self.run("up", "--build", "--wait", "--detach")
        assert up.succeeded, up.output + (await self.run("logs")).output

    async def demo(self, gateway: int = 0) -> Finished:
        """`carnet demo --url …`, on this machine, against one of the gateways."""
        operator = (self.secrets / "rabbitmq" / f"{OPERATOR}.url").read_text()
        return await run(
            *(str(Path(sys.executable).with_name("carnet")), "demo"),
            *("--url", f"http://{LOOPBACK}:{self.ports[gateway]}"),
            *("--amqp-url", operator.replace(f":{AMQP_PORT}/", f":{self.amqp_port}/")),
            *("--state", str(self.secrets), "--passphrase-file", str(self.secrets / "passphrase")),
            within=DEMO_WITHIN,
        )

    async def see(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What an operator is told at the console: parties, and queues, by their names."""
        add = "carnet accounts add grace --role operator --password-file -"
        added = await self.run("exec", "-T", "users", "sh", "-c", f"echo {PASSWORD} | {add}")
        assert added.succeeded, added.output
        url = f"http://{LOOPBACK}:{self.console_port}/console/api"
        async with httpx.AsyncClient(base_url=url, timeout=DEMO_WITHIN) as http:
            signed_in = await http.post("/session", json={"name": "grace", "password": PASSWORD})
            token = signed_in.raise_for_status().json()["access_token"]
            http.headers["Authorization"] = f"Bearer {token}"
            standing = (await http.get("/standing")).raise_for_status().json()
            queues = (await http.get("/queues")).raise_for_status().json()
        return (
            {each["name"]: each for each in standing["parties"]},
            {each["name"]: each for each in queues["queues"]},
        )


def _two_ports() -> tuple[int, int]:
    """Two free ports of which the second follows the first."""
    while True:
        (first,) = free_ports(1)
        if is_free(LOOPBACK, first + 1):
            return first, first + 1


@asynccontextmanager
async def _project(secrets: Path, *files: str) -> AsyncIterator[Compose]:
    try:
        for image in IMAGES:
            require_image(image)
    except UnavailableError as error:
        pytest.skip(f"no compose: {error}")
    if not (await run("docker", "compose", "version", within=10)).succeeded:
        pytest.skip("no compose: the docker command has no compose plugin")
    make_secrets(secrets)
    project = Compose(secrets, *files)
    try:
        yield project
    finally:
        await project.run("down", "--volumes", "--timeout", "5")


@pytest_asyncio.fixture
async def compose(tmp_path: Path) -> AsyncIterator[Compose]:
    async with _project(tmp_path / "secrets", "compose.yaml") as project:
        yield project


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Compose]:
    files = ("compose.yaml", "compose.cluster.yaml")
    async with _project(tmp_path / "secrets", *files) as project:
        yield project


async def test_the_demo_passes_against_one_and_three_replicas(compose: Compose) -> None:
    await compose.up()
    once = await compose.demo()
    assert once.succeeded, once.output
    parties, queues = await compose.see()
    assert {name: party["ready"] for name, party in parties.items()} == {
        "users": True,
        "orders": True,
        "gateway": True,
        "console": True,
    }
    assert all(queue["messages"] is not None for queue in queues.values())
    assert queues["orders.commands"]["consumers"] == 1

    scaled = await compose.run("up", "--wait", "--detach", "--scale", "orders=3")
    assert scaled.succeeded, scaled.output
    running = await compose.run("ps", "--status", "running", "--quiet", "orders")
    assert len(running.output.split()) == 3
    again = await compose.demo()
    assert again.succeeded, again.output


async def test_the_demo_passes_against_a_cluster_that_has_lost_a_node(cluster: Compose) -> None:
    """At one gateway before and at the other one after; it looks at the broker by another node."""
    await cluster.up()
    once = await cluster.demo(gateway=0)
    assert once.succeeded, once.output

    killed = await cluster.run("kill", "rabbitmq-2")
    assert killed.succeeded, killed.output

    async with asyncio.timeout(SERVED_WITHIN):
        while not (again := await cluster.demo(gateway=1)).succeeded:
            print(again.output)  # noqa: T201 - what is shown where a test fails
    listed = await cluster.run("ps", "--status", "running", "--format", "{{.Service}}")
    assert sorted(listed.output.split()) == sorted(
        ["rabbitmq", "rabbitmq-3", "postgres", "console", *("users", "orders", "gateway") * 2]
    )
