"""The compose files run as a project of a test's own."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from services.local.command import Finished, run
from services.local.compose_secrets import AMQP_PORT, make_secrets
from services.local.logins import OPERATOR
from services.local.ports import LOOPBACK, free_ports, is_free
from tests.engine import POSTGRES_IMAGE, RABBITMQ_IMAGE, UnavailableError, require_image

ROOT: Final = Path(__file__).parents[2]
SLIM: Final = "python:3.13-slim"
IMAGES: Final = (RABBITMQ_IMAGE, POSTGRES_IMAGE, SLIM)
UP_WITHIN: Final = 600.0
DEMO_WITHIN: Final = 90.0
PASSWORD: Final = "correct-horse-battery-staple"


class Compose:
    """The project under a name and on ports of its own, with secrets in a folder of its own."""

    def __init__(self, secrets: Path, *files: str) -> None:
        self.secrets = secrets
        self.amqp_port, management_port, self.console_port, self.prometheus_port = free_ports(4)
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
            "CARNET_PROMETHEUS_PORT": str(self.prometheus_port),
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
async def open_project(secrets: Path, *files: str) -> AsyncIterator[Compose]:
    """It is there until the context ends, and nothing of it after that.

    files: of compose, each at the repository's root or elsewhere.
    """
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
        # Whatever a test has started beyond the usual, too.
        await project.run("--profile", "*", "down", "--volumes", "--timeout", "5")
