"""Carnet's sealer and publisher: sealed, mandatory, confirmed, so many in flight."""

import asyncio
import time
import uuid
from itertools import cycle
from pathlib import Path

import uvloop

from auth.keys import SigningKey
from auth.seal import Sealer
from benchmarks.contender import Job, Meter, wait_for_go
from benchmarks.letters import order, read_carnets
from benchmarks.ours.service import PATIENCE, quiet
from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.publisher import Publisher
from services.contracts.orders import PlaceOrder
from services.contracts.topology import GATEWAY, ORDER_SERVICE


async def main(job: Job) -> None:
    broker = await Broker(job.url, name=GATEWAY).start(PATIENCE)
    publisher = Publisher(broker, client_id=GATEWAY)
    key = Path(job.options["state"]) / "keys" / GATEWAY / "seal.pem"
    sealer = Sealer(GATEWAY, SigningKey.load(key))
    carnets = cycle(read_carnets(job))
    command, meter, numbers = order(), Meter(job.count), iter(range(job.count))

    async def some() -> None:
        for _ in numbers:
            body, carnet, now = command.to_body(), next(carnets), time.time()
            seal = sealer.command(
                route=PlaceOrder.route,
                audience=ORDER_SERVICE,
                message_id=str(uuid.uuid4()),
                body=body,
                carnet=carnet,
                now=now,
                expires_at=now + 3600,
            )
            envelope = Envelope.sealed(PlaceOrder.route, body, seal=seal, carnet=carnet)
            await publisher.publish(envelope, deadline=PATIENCE)
            meter.tick()

    wait_for_go()
    meter.begin()
    await asyncio.gather(*(some() for _ in range(job.options["in_flight"])))
    meter.end()
    meter.report()
    await broker.close(PATIENCE)


if __name__ == "__main__":
    quiet()
    uvloop.run(main(Job.read()))
