"""aio-pika's own RPC pattern: an echo after so many seconds, unsigned.

https://docs.aio-pika.com/patterns.html#rpc, on uvloop. `JsonRPC` of the same module, not the
page's `RPC`: that one reads with pickle, which runs whatever a reply contains.
"""

import asyncio
import sys
from typing import Any

import aio_pika
import uvloop
from aio_pika.patterns import JsonRPC

from benchmarks.contender import READY, Job, Meter, wait_for_go

NAME = "bench.rpc.echo"


async def serve(job: Job) -> None:
    async def echo(*, body: str) -> str:
        await asyncio.sleep(job.options["takes"])
        return body

    connection = await aio_pika.connect_robust(job.url)
    async with connection:
        rpc = await JsonRPC.create(await connection.channel())
        await rpc.register(NAME, echo, auto_delete=True)
        print(READY, flush=True)
        await asyncio.Event().wait()


async def call(job: Job) -> None:
    meter, numbers = Meter(job.count), iter(range(job.count))
    connection = await aio_pika.connect_robust(job.url)
    async with connection:
        rpc = await JsonRPC.create(await connection.channel())

        async def ask() -> Any:
            return await rpc.call(NAME, kwargs={"body": job.options["body"]})

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
        await rpc.close()


if __name__ == "__main__":
    uvloop.run((serve if sys.argv[1] == "serve" else call)(Job.read()))
