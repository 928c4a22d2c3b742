"""Consumers as they stand in production: started, consuming, and left running.

Carnet's is the order service itself, its database up to date, its user service beside it. The
peers are the same programs that are measured at work.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx
from aiormq.abc import AbstractChannel

from benchmarks import filling
from benchmarks.contender import Job
from benchmarks.harness import Bench, ContenderError, missing, program
from benchmarks.processes import processor_time
from services.contracts.topology import ORDERS_COMMANDS
from services.local.stack import LocalStack

PEER_QUEUE: Final = "bench.standing"
WITHIN: Final = 120.0
LOOK: Final = 0.01


@dataclass(frozen=True, slots=True)
class Standing:
    """A consumer that consumes `queue`.

    seconds: from its process's start until then.   cpu: seconds of processor time in between.
    """

    pid: int
    queue: str
    seconds: float
    cpu: float


Starter = Callable[[], AbstractAsyncContextManager[Standing]]


def starters(bench: Bench, stack: LocalStack) -> dict[str, Starter]:
    """How each of the consumers is started.

    stack: runs, without its order service.
    """
    found: dict[str, Starter] = {
        "carnet": partial(_carnet, stack),
        "handwritten": partial(_peer, bench, "handwritten_store"),
    }
    if missing("faststream"):
        bench.left_out("FastStream", "it is not installed (make .venv/.bench)")
    else:
        found["faststream"] = partial(_peer, bench, "fast")
    return found


@asynccontextmanager
async def _carnet(stack: LocalStack) -> AsyncIterator[Standing]:
    """Ready by its own word, which says more than that it consumes: its trust is fresh as well."""
    service = stack.services["orders"]
    url = stack.amqp_url(service.client_id)
    began = time.monotonic()
    child = await service.start(service.environment(url, None))
    stack.processes["orders"] = child
    try:
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(WITHIN):
            while not await _is_ready(client, service.url):
                if not child.running:
                    raise ContenderError(f"the order service ended: {child.last_line()}")
                await asyncio.sleep(LOOK)
        pid, seconds = child.process.pid, time.monotonic() - began
        yield Standing(pid, ORDERS_COMMANDS.name, seconds, processor_time(pid))
    finally:
        await stack.stop_service("orders")


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/health/ready")).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def _peer(bench: Bench, module: str) -> AsyncIterator[Standing]:
    """Ready once the broker has it as a consumer."""
    await filling.make_queue(bench.operator, PEER_QUEUE)
    job = Job(bench.operator, PEER_QUEUE, 0, {"database": bench.sqlite()})
    began = time.monotonic()
    async with program(
        f"benchmarks.peers.{module}", job, log=bench.state / f"{module}.log"
    ) as process:
        async with filling.channel_of(bench.operator) as channel, asyncio.timeout(WITHIN):
            while not await _consumers(channel):  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(LOOK)
        pid, seconds = process.pid, time.monotonic() - began
        yield Standing(pid, PEER_QUEUE, seconds, processor_time(pid))


async def _consumers(channel: AbstractChannel) -> int:
    return (await channel.queue_declare(PEER_QUEUE, passive=True)).consumer_count or 0
