"""FastStream's request and reply: an echo after so many seconds, unsigned.

https://faststream.ag2.ai/latest/rabbit/rpc/ (`request`; the permanent queue that it has beside it
leaves it to the caller to find the reply). A broker makes one call at a time
(https://github.com/ag2ai/faststream/issues/1318), so a hundred of 100 ms take ten seconds.
"""

import asyncio
import sys
from typing import Any

import uvloop
from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from benchmarks.contender import PREFETCH, READY, Job, Meter, wait_for_go

QUEUE = RabbitQueue("bench.rpc.fast", auto_delete=True)
WITHIN = 60.0


async def serve(job: Job) -> None:
    broker = RabbitBroker(job.url, default_channel=Channel(prefetch_count=PREFETCH), logger=None)
    app = FastStream(broker, logger=None)

    @broker.subscriber(QUEUE)
    async def echo(body: str) -> str:
        await asyncio.sleep(job.options["takes"])
        return body

    @app.after_startup
    async def tell() -> None:
        print(READY, flush=True)

    await app.run()


async def call(job: Job) -> None:
    meter, numbers = Meter(job.count), iter(range(job.count))
    async with RabbitBroker(job.url, logger=None) as broker:

        async def ask() -> Any:
            return await broker.request(job.options["body"], QUEUE, timeout=WITHIN)

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
    uvloop.run((serve if sys.argv[1] == "serve" else call)(Job.read()))
