"""A cluster of three nodes, of which one is lost: a pause, and nothing else."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aio_pika
import httpx
import pytest
import pytest_asyncio

from services.contracts.topology import ORDERS_COMMANDS
from services.demo.client import Account, ShopClient, UnexpectedAnswerError
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from tests.clusters import NODES, Cluster, running_cluster
from tests.engine import UnavailableError

USERS: Final = 8
BASKET: Final[list[dict[str, Any]]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]
ASK_EVERY: Final = 0.1
PACE: Final = 0.2
"""Seconds between two orders of one user."""

RESUMED_WITHIN: Final = 30.0
"""Seconds after the death of a node within which everybody has an order placed again: 15, and as
many for a machine that does other things as well."""

PATIENCE: Final = 60.0
"""Seconds to wait for that at most, also where a node hangs, which the others have to find out."""

pytestmark = pytest.mark.timeout(400)


@dataclass
class Customer:
    """Orders one thing after the other, each until it is placed, whatever is in the way."""

    shop: ShopClient
    account: Account
    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    """Answers that were no 202; the order was asked for again with the same key."""
    placed: asyncio.Queue[tuple[float, float]] = field(default_factory=asyncio.Queue)
    """When each order was begun, and when it was seen placed."""

    async def order_until(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            begun = loop.time()
            order_id = await self._accepted(secrets.token_urlsafe(12))
            self.accepted.append(order_id)
            while not await self._is_placed(order_id):  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(ASK_EVERY)
            self.placed.put_nowait((begun, loop.time()))
            await asyncio.sleep(PACE)

    async def next_placed_since(self, moment: float) -> float:
        """When an order that was begun after `moment` was placed."""
        while True:
            begun, placed = await self.placed.get()
            if begun >= moment:
                return placed

    async def _accepted(self, key: str) -> str:
        while True:
            try:
                return await self.shop.place(self.account, BASKET, key=key)
            except UnexpectedAnswerError:
                self.refused += 1
                await asyncio.sleep(ASK_EVERY)

    async def _is_placed(self, order_id: str) -> bool:
        try:
            order = await self.shop.order(self.account, order_id)
        except (UnexpectedAnswerError, httpx.HTTPError):
            return False
        return order is not None and order["state"] == "placed"


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    try:
        async with running_cluster(tmp_path / "cluster") as cluster:
            yield cluster
    except UnavailableError as error:
        pytest.skip(f"no cluster: {error}")


async def test_orders_outlive_the_loss_of_any_node_of_the_cluster(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The leader of the work queue is killed, then the next one; then a third one hangs."""
    async with LocalStack(tmp_path / "stack", broker=cluster) as stack:
        async with ShopClient(stack.gateway_url) as shop:
            customers = [Customer(shop, await _sign_up(shop)) for _ in range(USERS)]
            async with _ordering(customers):
                figures = await _lose_nodes(cluster, customers)
            accepted = sum(len(customer.accepted) for customer in customers)
            refused = sum(customer.refused for customer in customers)
            with capsys.disabled():
                print(f"\n{accepted} orders, asked for again {refused} times; {figures}")  # noqa: T201 - measured
            for customer in customers:
                stored = await shop.orders(customer.account)
                assert sorted(order["id"] for order in stored) == sorted(customer.accepted)
                assert {order["state"] for order in stored} == {"placed"}
        assert await _dead_letters(cluster) == 0


@asynccontextmanager
async def _ordering(customers: list[Customer]) -> AsyncIterator[None]:
    """All order, until the end; then what they have begun is placed."""
    stop = asyncio.Event()
    ordering = [asyncio.create_task(customer.order_until(stop)) for customer in customers]
    try:
        yield
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*ordering)
    finally:
        for task in ordering:
            task.cancel()
        await asyncio.gather(*ordering, return_exceptions=True)


async def _lose_nodes(cluster: Cluster, customers: list[Customer]) -> str:
    await _everybody_served(customers)
    figures = []
    for _ in range(2):
        lost = await cluster.leader(ORDERS_COMMANDS.name)
        await cluster.kill_node(lost)
        pause = await _everybody_served(customers)
        figures.append(f"{lost}, leading, killed: {pause:.1f} s")
        assert pause < RESUMED_WITHIN, figures
        await cluster.start_node(lost)
        await cluster.until_whole()
    hung = await cluster.leader(ORDERS_COMMANDS.name)
    await cluster.pause_node(hung)
    try:
        pause = await _everybody_served(customers)
    finally:
        await cluster.resume_node(hung)
    figures.append(f"{hung}, leading, hung: {pause:.1f} s")
    return "; ".join(figures)


async def _everybody_served(customers: list[Customer]) -> float:
    """Wait until an order that each begins from now on is placed; the seconds that it took."""
    now = asyncio.get_running_loop().time()
    async with asyncio.timeout(PATIENCE):
        placed = await asyncio.gather(*(each.next_placed_since(now) for each in customers))
    return max(placed) - now


async def _sign_up(shop: ShopClient) -> Account:
    name, password = f"user-{secrets.token_hex(6)}", secrets.token_urlsafe(16)
    await shop.register(name, password)
    return await shop.sign_in(name, password)


async def _dead_letters(cluster: Cluster) -> int:
    connection = await aio_pika.connect(cluster.node_url(NODES[0], OPERATOR))
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(ORDERS_COMMANDS.dead, passive=True)
        return queue.declaration_result.message_count or 0
