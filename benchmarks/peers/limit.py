"""What the client library can do at most: aiormq, no work, every hundredth acknowledged for all.

https://github.com/mosquito/aiormq (simple consumer), with `multiple` as RabbitMQ's documentation
has it: https://www.rabbitmq.com/docs/confirms#consumer-acks-multiple-parameter.
"""

import asyncio
from typing import Final

import aiormq
import uvloop
from aiormq.abc import DeliveredMessage

from benchmarks.contender import PREFETCH, Job, Meter

TOGETHER: Final = 100


async def main(job: Job) -> None:
    meter, done = Meter(job.count), asyncio.Event()
    connection = await aiormq.connect(job.url)
    channel = await connection.channel()
    await channel.basic_qos(prefetch_count=PREFETCH)

    async def on_message(message: DeliveredMessage) -> None:
        last = meter.tick()
        if last or meter.handled % TOGETHER == 0:
            await channel.basic_ack(message.delivery_tag or 0, multiple=True)
        if last:
            meter.end()
            done.set()

    await channel.basic_consume(job.queue, on_message)
    await done.wait()
    await channel.close()
    await connection.close()
    meter.report()


if __name__ == "__main__":
    uvloop.run(main(Job.read()))
