"""What the cases over HTTP have in common: servers, users with tokens, and the load on them."""

import asyncio
import secrets
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.contender import Job, Run
from benchmarks.harness import Bench, ContenderError, program
from benchmarks.letters import order
from benchmarks.processes import peak_memory, processor_time
from services.demo.client import ShopClient
from services.local.ports import LOOPBACK, free_ports

CONNECTIONS: Final = 50
WARM: Final = 200
"""Requests before the first round, of which nothing is measured."""

START_WITHIN: Final = 60.0
LOOK: Final = 0.05


@asynccontextmanager
async def server(bench: Bench, module: str, **options: Any) -> AsyncIterator[tuple[str, Process]]:
    """A peer's web server, once it answers: its address and process."""
    (port,) = free_ports(1)
    url, log = f"http://{LOOPBACK}:{port}", bench.state / f"{module}.log"
    job = Job(bench.operator, "", 0, {"port": port, **options})
    async with program(module, job, log=log) as process:
        await _until_it_answers(f"{url}/health", process, log)
        yield url, process


async def _until_it_answers(url: str, process: Process, log: Path) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(START_WITHIN):
        while process.returncode is None:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(LOOK)
    raise ContenderError(f"a server ended by itself; see {log}")


async def sign_in(gateway: str, users: int) -> list[str]:
    """The access tokens of so many new users of Carnet."""
    tokens = []
    async with ShopClient(gateway) as client:
        for _ in range(users):
            name, password = f"bench-{secrets.token_hex(8)}", secrets.token_urlsafe(16)
            await client.register(name, password)
            tokens.append((await client.sign_in(name, password)).access_token)
    return tokens


async def put(
    bench: Bench, url: str, tokens: Sequence[str], count: int, servers: Sequence[int]
) -> tuple[Run, float]:
    """Put so many orders to the API at `url`, and wait for all answers.

    servers: process ids; what they cost and hold takes the place of what the load's own does,
        which is returned beside it, in seconds of processor time.
    """
    options = {"tokens": list(tokens), "body": order().to_body().decode()}
    job = Job(f"{url}/v1/orders", "", count, {**options, "connections": CONNECTIONS})
    before = sum(processor_time(pid) for pid in servers)
    run = await bench.run_program("benchmarks.http_load", job)
    spent = sum(processor_time(pid) for pid in servers) - before
    return replace(run, cpu=spent, peak=sum(peak_memory(pid) for pid in servers)), run.cpu
