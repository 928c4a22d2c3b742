"""Carnet's RPC: sealed both ways, encrypted where it is the exchange.

`serve` answers after so many seconds; `call` asks that, or with `password` among the options
the user service itself for carnets, each for another session in turn.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from itertools import cycle
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.contender import Job, Meter, wait_for_go
from benchmarks.ours.service import PATIENCE, quiet
from benchmarks.rpc import calling, serve
from messaging.rpc import RpcClient
from services.contracts.scopes import ORDERS_WRITE
from services.contracts.topology import ORDER_SERVICE, USER_SERVICE
from services.contracts.users import Exchange, GetKeySet, Register, SignIn


async def exchanges(
    client: RpcClient, password: str, run: str, users: int
) -> Callable[[], Coroutine[Any, Any, Any]]:
    """What asks for the next carnet."""

    async def ask(request: Any) -> Any:
        return await client.call(request, responder=USER_SERVICE, deadline=PATIENCE)

    tokens = []
    for number in range(users):
        name = f"bench-{run}-{number}"
        await ask(Register(name=name, password=password))
        tokens.append((await ask(SignIn(name=name, password=password))).access_token)
    turns = cycle(tokens)
    return lambda: ask(
        Exchange(subject_token=next(turns), audience=ORDER_SERVICE, scope=ORDERS_WRITE)
    )


async def call(job: Job) -> None:
    meter, numbers = Meter(job.count), iter(range(job.count))
    async with calling(Path(job.options["state"]), job.url) as client:
        if (password := job.options.get("password")) is None:

            async def ask() -> Any:
                return await client.call(GetKeySet(), responder=USER_SERVICE, deadline=PATIENCE)
        else:
            ask = await exchanges(client, password, job.options["run"], job.options["users"])

        async def some() -> None:
            for _ in numbers:
                await ask()
                meter.tick()

        await ask()
        wait_for_go()
        meter.begin()
        await asyncio.gather(*(some() for _ in range(job.options["in_flight"])))
        meter.end()
        meter.report()


if __name__ == "__main__":
    quiet()
    told = Job.read()
    if sys.argv[1] == "serve":
        uvloop.run(serve(Path(told.options["state"]), told.url, str(told.options["takes"])))
    else:
        uvloop.run(call(told))
