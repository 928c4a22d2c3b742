"""A consumer as most would write it with aio-pika: acknowledge each, verify nothing.

As aio-pika's own tutorial has it: https://docs.aio-pika.com/rabbitmq-tutorial/2-work-queues.html
(`connect`, `set_qos`, `queue.consume`, `async with message.process()`), on uvloop, with more
prefetched than the tutorial's one message.
"""

import asyncio
import json

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.contender import PREFETCH, Job, Meter


async def main(job: Job) -> None:
    meter, done = Meter(job.count), asyncio.Event()
    connection = await aio_pika.connect(job.url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(job.queue)

        async def on_message(message: AbstractIncomingMessage) -> None:
            async with message.process():
                json.loads(message.body)
            if meter.tick():
                meter.end()
                done.set()

        await queue.consume(on_message)
        await done.wait()
        await channel.close()  # whose end comes after the last acknowledgement
    meter.report()


if __name__ == "__main__":
    uvloop.run(main(Job.read()))
