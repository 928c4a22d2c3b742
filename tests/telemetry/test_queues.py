"""What the broker tells of its queues is what dashboard and alerts ask for, on 3.10 and on 4.3."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import httpx
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from services.contracts.topology import ORDERS_COMMANDS
from services.local.logins import OPERATOR
from services.local.ports import LOOPBACK, free_ports
from tests.brokers import RunningBroker
from tests.messaging.raw import raw_channel
from tests.own_service import BILLING
from tests.telemetry.expressions import labels_of, named_in, of_the_broker
from tests.telemetry.test_files import FOLDER, queries, rules

PLUGIN: Final = "rabbitmq_prometheus"
WAITING: Final = "rabbitmq_detailed_queue_messages_ready"
WITHIN: Final = 60.0


@dataclass(frozen=True)
class Telling:
    """A broker, and where Prometheus asks it."""

    broker: RunningBroker
    url: str

    async def scrape(self) -> str:
        """As compose's Prometheus does."""
        jobs = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
        (job,) = (each for each in jobs if each["job_name"] == "rabbitmq")
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=10) as client:
            answer = await client.get(job["metrics_path"], params=job["params"])
            return answer.raise_for_status().text

    async def depths(self, vhost: str) -> dict[str, float]:
        """How much waits in each queue."""
        return {
            sample.labels["queue"]: sample.value
            for family in text_string_to_metric_families(await self.scrape())
            for sample in family.samples
            if sample.name == WAITING and sample.labels["vhost"] == vhost
        }


@pytest_asyncio.fixture
async def telling(conformance_broker: RunningBroker) -> AsyncIterator[Telling]:
    """Each kind of broker, with the plugin on: the container has it, and the node is told to."""
    broker = conformance_broker
    if broker.metrics_port is not None:
        yield Telling(broker, f"http://{broker.host}:{broker.metrics_port}")
        return
    (port,) = free_ports(1)
    listener = f'[{{port, {port}}}, {{ip, "{LOOPBACK}"}}]'
    await broker.control(
        "eval", f"application:set_env({PLUGIN}, tcp_config, {listener}, [{{persistent, true}}])."
    )
    await broker.control("enable", PLUGIN, tool="rabbitmq-plugins")
    try:
        yield Telling(broker, f"http://{LOOPBACK}:{port}")
    finally:
        await broker.control("disable", PLUGIN, tool="rabbitmq-plugins")


async def test_all_that_is_asked_of_the_broker_it_tells(telling: Telling) -> None:
    """It looks at its queues every five seconds."""
    asked = {name for _, expression in queries() for name in named_in(expression)}
    asked |= {name for rule in rules().values() for name in named_in(rule["expr"])}

    async with telling.broker.stack_vhost() as vhost, asyncio.timeout(WITHIN):
        while not await telling.depths(vhost.vhost):  # noqa: ASYNC110 - one has to ask
            await asyncio.sleep(0.2)
        scraped = await telling.scrape()

    assert of_the_broker(asked)
    assert of_the_broker(asked) <= labels_of(scraped).keys()
    assert all({"vhost", "queue"} <= labels_of(scraped)[name] for name in of_the_broker(asked))


async def test_what_lies_in_work_retry_and_dead_letter_queues_is_told_by_name(
    telling: Telling,
) -> None:
    """Of shards and services of one's own too."""
    queues = {
        "orders.commands": 1,
        "orders.commands.0": 2,
        "billing.commands": 3,
        ORDERS_COMMANDS.dead: 4,
        ORDERS_COMMANDS.retries[-1].name: 5,
    }
    async with telling.broker.stack_vhost(shards=2, declared=(BILLING,)) as vhost:
        async with raw_channel(vhost.url(OPERATOR)) as raw:
            for queue, count in queues.items():
                for _ in range(count):
                    await raw.publish("", queue, b"{}")

        async with asyncio.timeout(WITHIN):
            told: dict[str, float] = {}
            while {name: told.get(name) for name in queues} != queues:
                await asyncio.sleep(0.2)
                told = await telling.depths(vhost.vhost)
