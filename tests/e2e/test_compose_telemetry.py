"""The telemetry profile of the compose file: its Prometheus finds all, and every panel has data.

Prometheus is Debian's program in the place of its image, with all else that the file says.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from services.local.ports import LOOPBACK
from tests.e2e.composed import SLIM, Compose, open_project
from tests.telemetry.asked import Prometheus
from tests.telemetry.test_files import queries
from tests.telemetry.tools import require

WITHIN: Final = 180.0
"""Seconds until everybody was asked twice, and each panel has a curve."""

NEVER: Final = {"Retries by type", "Revocation lag"}
"""What the demo lets nobody see: no message of its is tried again, and no session is ended."""

pytestmark = pytest.mark.timeout(900)


@pytest_asyncio.fixture
async def compose(tmp_path: Path) -> AsyncIterator[Compose]:
    volume = f"{require('prometheus')}:/usr/bin/prometheus:ro"
    program = {"image": SLIM, "entrypoint": ["/usr/bin/prometheus"], "volumes": [volume]}
    override = tmp_path / "prometheus.yaml"
    override.write_text(json.dumps({"services": {"prometheus": program}}))
    files = ("compose.yaml", str(override))
    async with open_project(tmp_path / "secrets", *files) as project:
        yield project


@pytest_asyncio.fixture
async def prometheus(compose: Compose) -> AsyncIterator[Prometheus]:
    await compose.up()
    up = await compose.run("--profile", "telemetry", "up", "--detach", "prometheus")
    assert up.succeeded, up.output
    asked = Prometheus(f"http://{LOOPBACK}:{compose.prometheus_port}")
    yield asked
    await asked.close()


async def test_the_dashboard_has_live_data(compose: Compose, prometheus: Prometheus) -> None:
    async with asyncio.timeout(WITHIN):
        while not await prometheus.ready():  # noqa: ASYNC110 - one has to ask
            await asyncio.sleep(0.2)
        empty = {title for title, _ in queries()}
        while empty - NEVER:
            demo = await compose.demo()
            assert demo.succeeded, demo.output
            empty = {title for title, query in queries() if not await prometheus.ask(query)}
    up = {each["metric"]["job"]: each["value"][1] for each in await prometheus.ask("up")}
    assert up == dict.fromkeys(("users", "orders", "gateway", "console", "rabbitmq"), "1")
    assert await prometheus.health() == {"ok"}
