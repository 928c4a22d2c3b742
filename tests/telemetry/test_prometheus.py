"""A real Prometheus on the real services: what the dashboard asks for, it has."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import yaml

from services.demo.client import Account, ShopClient, next_event
from services.local.child import Child
from services.local.ports import LOOPBACK, free_ports
from tests.telemetry.asked import Prometheus
from tests.telemetry.conftest import Watched
from tests.telemetry.expressions import named_in, of_the_broker
from tests.telemetry.test_files import ALERTS, queries, rules
from tests.telemetry.tools import require

WITHIN = 60.0


@pytest_asyncio.fixture
async def prometheus(watched: Watched, tmp_path: Path) -> AsyncIterator[Prometheus]:
    """It asks each service twice a second, and watches the alerts."""
    program, (port,) = require("prometheus"), free_ports(1)
    configuration = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [address]}]}
            for name, address in watched.addresses.items()
        ],
    }
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration))
    child = await Child.start(
        "prometheus",
        [
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
        ],
        env=dict(os.environ),
        cwd=tmp_path,
        log=tmp_path / "prometheus.log",
    )
    asked = Prometheus(f"http://{LOOPBACK}:{port}")
    try:
        assert await child.until(asked.ready, every=0.1, within=WITHIN), child.last_line()
        yield asked
    finally:
        await asked.close()
        await child.stop(within=10)


async def test_every_panel_of_the_dashboard_has_data(
    prometheus: Prometheus, shop: ShopClient, account: Account
) -> None:
    """But for what has not happened: then a panel is empty, and its expression still one.

    And for what the broker tells, whose metrics are not on in a local stack: `test_queues`.
    """
    never = {"Dead letters by reason", "Retries by type", "Revocation lag"}
    never |= {title for title, query in queries() if of_the_broker(named_in(query))}
    async with asyncio.timeout(WITHIN):
        empty = {"all"}
        while empty - never:
            async with shop.events(account) as events:
                await shop.place(account, [{"sku": "tea", "quantity": 1, "unit_price": "1"}])
                await next_event(events, within=20)
            await shop.orders(account)
            empty = {title for title, query in queries() if not await prometheus.ask(query)}


async def test_a_healthy_system_rings_no_alarm(prometheus: Prometheus) -> None:
    async with asyncio.timeout(WITHIN):
        while len(await prometheus.ask("up == 1")) < 3:  # noqa: ASYNC110 - one has to ask
            await asyncio.sleep(0.2)
        while "unknown" in await prometheus.health():  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.2)

    told = await prometheus.rules()

    assert {rule["name"] for rule in told} == rules().keys()
    assert await prometheus.health() == {"ok"}
    pages = [
        r["name"] for r in told if r["labels"]["severity"] == "page" and r["state"] == "firing"
    ]
    assert pages == []
