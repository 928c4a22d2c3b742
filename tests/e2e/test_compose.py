"""compose.yaml as an operator uses it: secrets, up, the demo against it, three replicas, down."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from services.local.command import Finished, run
from services.local.compose_secrets import AMQP_PORT, make_secrets
from services.local.logins import OPERATOR
from services.local.ports import free_ports
from tests.engine import POSTGRES_IMAGE, RABBITMQ_IMAGE, UnavailableError, require_image

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = (RABBITMQ_IMAGE, POSTGRES_IMAGE, "python:3.13-slim")
UP_WITHIN: Final = 600.0
DEMO_WITHIN: Final = 90.0

pytestmark = pytest.mark.timeout(900)


class Compose:
    """The project under a name and on ports of its own, with secrets in a folder of its own."""

    def __init__(self, secrets: Path) -> None:
        self.secrets = secrets
        self.port, self.amqp_port, management_port = free_ports(3)
        self._env = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"carnet-test-{self.port}",
            "CARNET_SECRETS": str(secrets),
            "CARNET_PORT": str(self.port),
            "CARNET_AMQP_PORT": str(self.amqp_port),
            "CARNET_MANAGEMENT_PORT": str(management_port),
            "DOCKER_BUILDKIT": "0",
        }

    async def run(self, *arguments: str) -> Finished:
        """`docker compose …`."""
        return await run(
            *("docker", "compose", "--project-directory", str(ROOT), *arguments),
            within=UP_WITHIN,
            env=self._env,
        )

    async def demo(self) -> Finished:
        """`carnet demo --url …`, on this machine, against it."""
        operator = (self.secrets / "rabbitmq" / f"{OPERATOR}.url").read_text()
        return await run(
            *(str(Path(sys.executable).with_name("carnet")), "demo"),
            *("--url", f"http://127.0.0.1:{self.port}"),
            *("--amqp-url", operator.replace(f":{AMQP_PORT}/", f":{self.amqp_port}/")),
            *("--state", str(self.secrets), "--passphrase-file", str(self.secrets / "passphrase")),
            within=DEMO_WITHIN,
        )


@pytest_asyncio.fixture
async def compose(tmp_path: Path) -> AsyncIterator[Compose]:
    try:
        for image in IMAGES:
            require_image(image)
    except UnavailableError as error:
        pytest.skip(f"no compose: {error}")
    if not (await run("docker", "compose", "version", within=10)).succeeded:
        pytest.skip("no compose: the docker command has no compose plugin")
    make_secrets(tmp_path / "secrets")
    project = Compose(tmp_path / "secrets")
    yield project
    await project.run("down", "--volumes", "--timeout", "5")


async def test_the_demo_passes_against_one_and_three_replicas(compose: Compose) -> None:
    up = await compose.run("up", "--build", "--wait", "--detach")
    assert up.succeeded, up.output + (await compose.run("logs")).output
    once = await compose.demo()
    assert once.succeeded, once.output

    scaled = await compose.run("up", "--wait", "--detach", "--scale", "orders=3")
    assert scaled.succeeded, scaled.output
    running = await compose.run("ps", "--status", "running", "--quiet", "orders")
    assert len(running.output.split()) == 3
    again = await compose.demo()
    assert again.succeeded, again.output
