"""Carnet's verifier on Carnet's own subscription, without an inbox: for idempotent work."""

import asyncio
import time
from typing import Final

import uvloop

from auth.policy import at_acceptance, requires
from benchmarks.contender import PREFETCH, Job, Meter, wait_for_go
from benchmarks.ours.service import PATIENCE, fixed_verifier, quiet
from messaging.broker import Broker
from messaging.consumer_parts import CONCURRENCY
from messaging.delivery import Delivery
from messaging.serving import serve
from messaging.subscription import Subscription, shared_queue
from services.contracts import orders
from services.contracts.orders import PlaceOrder
from services.contracts.scopes import ORDERS_WRITE
from services.contracts.topology import ORDER_SERVICE

POLICY: Final = requires(ORDERS_WRITE)
EXPIRY: Final = at_acceptance(orders.PATIENCE)


async def main(job: Job) -> None:
    broker = await Broker(job.url, name=ORDER_SERVICE).start(PATIENCE)
    verifier, meter, shutdown = fixed_verifier(job), Meter(job.count), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        verifier.command(delivery.unverified(), PlaceOrder.route, POLICY, EXPIRY, now=time.time())
        PlaceOrder.from_body(delivery.body)
        await delivery.ack()
        if meter.tick():
            meter.end()
            shutdown.set()

    subscription = Subscription(broker, shared_queue(job.queue), prefetch=PREFETCH)
    wait_for_go()
    meter.begin()
    await serve(subscription, handle, concurrency=CONCURRENCY, drain=PATIENCE, shutdown=shutdown)
    meter.report()
    await broker.close(PATIENCE)


if __name__ == "__main__":
    quiet()
    uvloop.run(main(Job.read()))
