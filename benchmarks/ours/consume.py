"""Carnet's consumer at its work, with a handler that does none.

Each message is verified (carnet, seal, revocation, scope), its body parsed, and its inbox row
committed before it is acknowledged.
"""

import asyncio

import uvloop

from auth.policy import at_acceptance, requires
from auth.principal import Principal
from benchmarks.contender import Job
from benchmarks.ours.bulk import PlaceBulkOrder
from benchmarks.ours.service import PATIENCE, consume, parts_of, quiet, telemetry_of
from messaging.broker import Broker
from messaging.consumer import CommandConsumer
from messaging.topology import WorkQueue
from services.contracts import orders
from services.contracts.orders import PlaceOrder
from services.contracts.scopes import ORDERS_WRITE
from services.contracts.topology import ORDER_SERVICE
from services.orders.work import OrderWork


async def main(job: Job) -> None:
    broker = Broker(job.url, name=ORDER_SERVICE, telemetry=telemetry_of(job))
    await broker.start(PATIENCE)
    consumer, woken = CommandConsumer(WorkQueue(job.queue)), asyncio.Event()
    contract = PlaceBulkOrder if job.options.get("bulk") else PlaceOrder

    rule = at_acceptance(orders.PATIENCE)

    @consumer.handles(contract, requires(ORDERS_WRITE), expiry=rule, together=True)
    async def place_order(_command: PlaceOrder, _caller: Principal, _work: OrderWork) -> None:
        """Nothing: what is measured is all the rest."""

    parts = await parts_of(job, broker, committed=woken.set)
    await consume(job, consumer, parts, woken)
    await broker.close(PATIENCE)
    await parts.database.close()


if __name__ == "__main__":
    quiet()
    uvloop.run(main(Job.read()))
