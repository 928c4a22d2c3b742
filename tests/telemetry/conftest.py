"""The whole system as processes, with a collector of traces, and metrics of the gateway too."""

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from services.demo.client import Account, ShopClient
from services.local.ports import LOOPBACK, free_ports
from services.local.stack import LocalStack
from tests.telemetry.collector import Collector


@dataclass(frozen=True, slots=True)
class Watched:
    """The system, and where each service tells of its numbers."""

    stack: LocalStack
    collector: Collector
    addresses: dict[str, str]

    async def scrape(self, service: str) -> str:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.get(f"http://{self.addresses[service]}/metrics")
            answer.raise_for_status()
            return answer.text


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def watched(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> AsyncIterator[Watched]:
    """Three services and a broker of their own."""
    (port,) = free_ports(1)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CARNET_METRICS_PORT", str(port))
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        async with LocalStack(tmp_path_factory.mktemp("watched"), throwaway=True) as stack:
            environment.undo()  # no other stack is meant
            addresses = {
                name: f"{LOOPBACK}:{stack.services[name].port}" for name in ("users", "orders")
            }
            yield Watched(stack, collector, {**addresses, "gateway": f"{LOOPBACK}:{port}"})


@pytest_asyncio.fixture
async def shop(watched: Watched) -> AsyncIterator[ShopClient]:
    async with ShopClient(watched.stack.gateway_url) as client:
        yield client


@pytest_asyncio.fixture
async def account(shop: ShopClient) -> Account:
    return await _sign_up(shop)


@pytest_asyncio.fixture
async def stranger(shop: ShopClient) -> Account:
    """Somebody else."""
    return await _sign_up(shop)


async def _sign_up(shop: ShopClient) -> Account:
    name, password = f"ada-{secrets.token_hex(6)}", secrets.token_urlsafe(16)
    await shop.register(name, password)
    return await shop.sign_in(name, password)
