"""The compose files as an operator uses them: secrets, up, the demo against it, down.

One broker with three replicas of a service, and a cluster of three brokers that loses one.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.e2e.composed import Compose, open_project

SERVED_WITHIN: Final = 60.0
"""Seconds after the loss of a node within which the demo passes again."""

pytestmark = pytest.mark.timeout(900)


@pytest_asyncio.fixture
async def compose(tmp_path: Path) -> AsyncIterator[Compose]:
    async with open_project(tmp_path / "secrets", "compose.yaml") as project:
        yield project


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Compose]:
    files = ("compose.yaml", "compose.cluster.yaml")
    async with open_project(tmp_path / "secrets", *files) as project:
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
