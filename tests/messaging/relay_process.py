"""An outbox relay as a process of its own, which a test kills: database URL, broker URL."""

import asyncio
import sys
import time

import uvloop

from auth.keys import SigningKey
from auth.seal import Sealer
from messaging.broker import Broker
from messaging.database import open_database
from messaging.publisher import Publisher
from messaging.relay import OutboxRelay
from tests.messaging.market import MARKET
from tests.messaging.stall import TABLES


async def relay(database_url: str, amqp_url: str) -> None:
    broker = await Broker(amqp_url, name="relay").start(30)
    outbox = OutboxRelay(
        database=open_database(database_url),
        outbox=TABLES.outbox,
        publisher=Publisher(broker, client_id=MARKET),
        sealer=Sealer(MARKET, SigningKey.generate()),
        clock=time.time,
    )
    print("ready", flush=True)  # noqa: T201 - how the test learns of it
    await outbox.run(asyncio.Event())


if __name__ == "__main__":
    uvloop.run(relay(*sys.argv[1:]))
