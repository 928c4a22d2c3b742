"""The order service's own consumer and outbox relay, under a trust that is fixed.

Each order is verified and stored with its lines, its inbox row, its event and the event's place in
the user's history; the relay meanwhile seals and publishes the events.
"""

import asyncio
import time
from pathlib import Path

import uvloop

from auth.keys import SigningKey
from auth.seal import Sealer
from benchmarks.contender import Job
from benchmarks.ours.service import PATIENCE, consume, parts_of, quiet
from messaging.broker import Broker
from messaging.relay import OutboxRelay
from services.contracts.topology import ORDER_SERVICE
from services.orders.app import order_commands
from services.orders.refusals import tell_refusal
from services.orders.tables import MESSAGING


async def main(job: Job) -> None:
    broker = await Broker(job.url, name=ORDER_SERVICE).start(PATIENCE)
    seal = Path(job.options["state"]) / "keys" / ORDER_SERVICE / "seal.pem"
    woken, drained = asyncio.Event(), asyncio.Event()
    relays: list[OutboxRelay] = []

    def committed() -> None:
        woken.set()
        for relay in relays:
            relay.wake()

    parts = await parts_of(job, broker, committed=committed, on_refused=tell_refusal)
    relays.append(
        OutboxRelay(
            database=parts.database,
            outbox=MESSAGING.outbox,
            publisher=parts.publisher,
            sealer=Sealer(ORDER_SERVICE, SigningKey.load(seal)),
            clock=time.time,
        )
    )
    async with asyncio.TaskGroup() as running:
        relaying = running.create_task(relays[0].run(drained))
        await consume(job, order_commands(), parts, woken)
        relaying.cancel()  # what is left of the outbox was not to be measured
    await broker.close(PATIENCE)
    await parts.database.close()


if __name__ == "__main__":
    quiet()
    uvloop.run(main(Job.read()))
