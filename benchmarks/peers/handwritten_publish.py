"""Publishing by hand with aio-pika: unsealed, mandatory, confirmed, so many in flight.

https://docs.aio-pika.com/rabbitmq-tutorial/7-publisher-confirms.html: confirms, its default, and
handled while others are on their way, the strategy that it calls the fastest of three. On uvloop.
"""

import asyncio
from itertools import cycle

import aio_pika
import uvloop

from benchmarks.contender import Job, Meter, wait_for_go
from benchmarks.letters import order, read_carnets
from services.contracts.topology import PLACE_ORDER


async def main(job: Job) -> None:
    connection = await aio_pika.connect(job.url)
    tokens = cycle(read_carnets(job))
    command, meter, numbers = order(), Meter(job.count), iter(range(job.count))
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(PLACE_ORDER.exchange)

        async def some() -> None:
            for _ in numbers:
                message = aio_pika.Message(
                    command.to_body(),
                    headers={"authorization": f"Bearer {next(tokens)}"},
                    content_type="application/json",
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    type=PLACE_ORDER.type,
                )
                await exchange.publish(message, PLACE_ORDER.routing_key)
                meter.tick()

        wait_for_go()
        meter.begin()
        await asyncio.gather(*(some() for _ in range(job.options["in_flight"])))
        meter.end()
    meter.report()


if __name__ == "__main__":
    uvloop.run(main(Job.read()))
