"""The hand-written consumer that verifies each message's token with PyJWT, and nothing else.

The consumer: https://docs.aio-pika.com/rabbitmq-tutorial/2-work-queues.html. The token, with the
claims that PyJWT checks where it is asked to: https://pyjwt.readthedocs.io/en/stable/usage.html.
"""

import asyncio
import json

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.contender import PREFETCH, Job, Meter
from benchmarks.peers.bearer import TokenCheck


async def main(job: Job) -> None:
    meter, done = Meter(job.count), asyncio.Event()
    check = TokenCheck(job.options["jwk"])
    connection = await aio_pika.connect(job.url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(job.queue)

        async def on_message(message: AbstractIncomingMessage) -> None:
            async with message.process():
                check(message.headers["authorization"])
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
