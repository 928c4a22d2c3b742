"""Wires the order service and runs it: `python -m services.orders`, `carnet orders`."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final, NoReturn

from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import ConsumerParts
from messaging.database import open_database
from messaging.inspection import left_shards
from messaging.journeys import Journeys
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.relay import OutboxRelay
from messaging.rpc import RpcClient, RpcParts
from messaging.signatures import CheckedHere, CheckingProcess
from services.broker_login import broker_tokens
from services.contracts.topology import ORDER_SERVICE, orders_commands, orders_topology
from services.health import HealthServer
from services.identity import load_identity
from services.orders.app import order_commands, order_queries
from services.orders.journeys import teller
from services.orders.queries import Queries
from services.orders.refusals import tell_refusal
from services.orders.settings import OrderSettings
from services.orders.tables import MESSAGING
from services.orders.work import OrderWork
from services.runtime import run_service
from services.startup import require_broker, require_standing
from services.telemetry.opening import open_telemetry
from services.trust import open_live_trust, trust_supply

MIGRATIONS: Final = Path(__file__).with_name("migrations")


async def serve(settings: OrderSettings, shutdown: asyncio.Event) -> None:
    """Run until `shutdown`; then finish what runs, give back the rest, and close.

    Raises:
        StartError, AuthError, MessagingError: it cannot start; each says why in one line.
    """
    clock = time.time
    telemetry = open_telemetry(ORDER_SERVICE, os.environ)
    broker = Broker(settings.amqp_url.get_secret_value(), name=ORDER_SERVICE, telemetry=telemetry)
    trust = open_live_trust(ORDER_SERVICE, settings, broker, clock=clock)
    identity = load_identity(ORDER_SERVICE, settings, trust.key_set)
    identity.sealer.follow(trust)
    require_standing(settings, identity, trust.key_set, now=clock())
    verifier = Verifier(trust, audience=ORDER_SERVICE)
    await upgrade(settings.database_url.get_secret_value(), MIGRATIONS)
    database = open_database(settings.database_url.get_secret_value())
    work = orders_commands(settings.orders_shards)
    commands, queries = order_commands(work), order_queries(Queries(database))
    health = HealthServer(
        {
            "commands": lambda: commands.ready,
            "queries": lambda: queries.ready,
            "trust": lambda: trust.fresh,
        },
        metrics=telemetry.metrics,
        host=settings.host,
        port=settings.port,
    )
    try:
        await broker.start(settings.start_deadline, tokens=broker_tokens(settings, identity.sealer))
        await require_broker(
            broker,
            orders_topology(settings.orders_shards),
            client_id=ORDER_SERVICE,
            clock=clock,
            deadline=settings.start_deadline,
        )
        left = await left_shards(broker, work, deadline=settings.start_deadline)
        publisher = Publisher(broker, client_id=ORDER_SERVICE)
        relay = OutboxRelay(
            database=database,
            outbox=MESSAGING.outbox,
            publisher=publisher,
            sealer=identity.sealer,
            clock=clock,
        )
        checking = CheckingProcess()
        journeys = Journeys(
            trust,
            service=ORDER_SERVICE,
            judge=commands.judge,
            tell=teller(publisher, identity.sealer, clock),
            clock=clock,
        )
        consumer_parts = ConsumerParts(
            broker=broker,
            publisher=publisher,
            verifier=verifier,
            database=database,
            tables=MESSAGING,
            unit_of_work=OrderWork,
            on_refused=tell_refusal,
            committed=relay.wake,
            clock=clock,
            service=ORDER_SERVICE,
            queues=work.consumed_by(settings.orders_shard),
            left=tuple(left),
            prefetch=settings.prefetch,
            concurrency=settings.concurrency,
            drain=settings.shutdown_deadline,
            signatures=checking if settings.signature_process else CheckedHere(),
            journeys=journeys,
        )
        rpc = RpcClient(
            broker,
            publisher,
            identity.sealer,
            verifier,
            trust=trust,
            decryption=identity.decryption,
            clock=clock,
        )
        rpc_parts = RpcParts(
            broker=broker,
            publisher=publisher,
            sealer=identity.sealer,
            verifier=verifier,
            trust=trust,
            decryption=identity.decryption,
            clock=clock,
        )
        await health.start()
        await rpc.start(settings.start_deadline)
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as running:
            running.create_task(relay.run(drained), name="outbox relay")
            running.create_task(checking.run(drained), name="checking process")
            running.create_task(journeys.run(drained), name="journeys")
            running.create_task(trust.run(trust_supply(rpc, settings), drained), name="trust")
            async with asyncio.TaskGroup() as serving:
                serving.create_task(commands.run(consumer_parts, shutdown), name="commands")
                serving.create_task(queries.run(rpc_parts, shutdown), name="queries")
            drained.set()
        await rpc.close()
    finally:
        await health.stop()
        await broker.close(settings.shutdown_deadline)
        await database.close()


def main() -> NoReturn:
    """Run the order service until SIGTERM or SIGINT."""
    run_service(ORDER_SERVICE, OrderSettings, serve)


if __name__ == "__main__":
    main()
