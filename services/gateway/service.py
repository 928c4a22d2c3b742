"""The gateway put together: its parts on a broker and a database, and the server over them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from auth.statements import Revocation
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.database import Database, open_database
from messaging.events import EventParts
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.rpc import RpcClient
from messaging.trust import LiveTrust
from services.broker_login import broker_tokens
from services.contracts.topology import GATEWAY, GATEWAY_TOPOLOGY, USER_SERVICE
from services.contracts.users import Exchange, Exchanged
from services.gateway.app import create_app
from services.gateway.carnets import Carnets
from services.gateway.commands import Commands
from services.gateway.idempotency import IdempotencyKeys
from services.gateway.journeys import JourneyHub
from services.gateway.listening import order_events
from services.gateway.live import EventHub
from services.gateway.parts import GatewayOptions, GatewayParts
from services.gateway.playground import Playground
from services.gateway.settings import GatewaySettings
from services.gateway.store import MIGRATIONS
from services.http import HttpServer
from services.identity import Identity, load_identity
from services.startup import require_broker, require_standing
from services.telemetry.opening import open_telemetry
from services.trust import open_live_trust, trust_supply
from services.web.connection import BoundedHttpProtocol
from services.web.measured import measured

Follow = Callable[[RpcClient, asyncio.Event], Coroutine[Any, Any, None]]


async def serve(settings: GatewaySettings, shutdown: asyncio.Event) -> None:
    """Serve until `shutdown`; then end the streams, finish what is in flight, and close.

    Raises:
        StartError, AuthError, MessagingError: it cannot start, in one line.
    """
    telemetry = open_telemetry(GATEWAY, os.environ)
    broker = Broker(settings.amqp_url.get_secret_value(), name=GATEWAY, telemetry=telemetry)
    trust = open_live_trust(GATEWAY, settings, broker, clock=time.time)
    identity = load_identity(GATEWAY, settings, trust.key_set)
    identity.sealer.follow(trust)
    require_standing(settings, identity, trust.key_set, now=time.time())
    url = settings.database_url.get_secret_value()
    await upgrade(url, MIGRATIONS)
    database = open_database(url)
    database.watch(telemetry.metrics)
    try:
        await broker.start(settings.start_deadline, tokens=broker_tokens(settings, identity.sealer))
        async with assemble(
            identity=identity,
            trust=trust,
            follow=lambda rpc, ended: trust.run(trust_supply(rpc, settings), ended),
            broker=broker,
            database=database,
            options=settings.options(),
            clock=time.time,
            deadline=settings.start_deadline,
        ) as parts:
            http = HttpServer(
                create_app(parts),
                host=settings.host,
                port=settings.port,
                drain=settings.shutdown_deadline,
                protocol=BoundedHttpProtocol,
            )
            async with measured(settings, parts.checks, parts.telemetry.metrics):
                await http.start()
                await shutdown.wait()
                parts.hub.close()
                parts.journeys.close()
                await http.stop()
    finally:
        await broker.close(settings.shutdown_deadline)
        await database.close()


@asynccontextmanager
async def assemble(
    *,
    identity: Identity,
    trust: LiveTrust,
    follow: Follow,
    broker: Broker,
    database: Database,
    options: GatewayOptions,
    clock: Callable[[], float],
    deadline: float,
) -> AsyncIterator[GatewayParts]:
    """Make the gateway's parts and keep them running for as long as the context lasts.

    follow: keeps `trust` up to date, asking over RPC what it has missed, until it is ended.
    deadline: seconds for the broker's objects, and for replies to be able to reach us.
    """
    await require_broker(
        broker, GATEWAY_TOPOLOGY, client_id=identity.client_id, clock=clock, deadline=deadline
    )
    publisher = Publisher(
        broker, client_id=identity.client_id, clock=clock, limit=options.publish_backlog
    )
    verifier = Verifier(trust, audience=identity.client_id)
    rpc = RpcClient(
        broker,
        publisher,
        identity.sealer,
        verifier,
        trust=trust,
        decryption=identity.decryption,
        clock=clock,
        limit=options.publish_backlog,
    )

    async def exchange(request: Exchange) -> Exchanged:
        return await rpc.call(request, responder=USER_SERVICE, deadline=options.rpc_deadline)

    carnets = Carnets(exchange, clock=clock)
    keys = IdempotencyKeys(database, clock=clock)
    hub = EventHub()
    journeys = JourneyHub()
    events = order_events(hub, journeys)
    playground = None
    if options.playground:
        playground = Playground(
            sealer=identity.sealer,
            publisher=publisher,
            carnets=carnets,
            rpc=rpc,
            hub=journeys,
            clock=clock,
            deadline=options.rpc_deadline,
            sharding=options.sharding,
        )

    def let_go(revoked: Revocation) -> None:
        carnets.forget(revoked)
        hub.end(revoked)
        journeys.end(revoked)
        if playground is not None:
            playground.hear(revoked)

    trust.on_revoked(let_go)
    heard = EventParts(broker, verifier, clock, on_registered=hub.miss)
    commands = Commands(
        sealer=identity.sealer,
        publisher=publisher,
        carnets=carnets,
        keys=keys,
        clock=clock,
        deadline=options.publish_deadline,
        sharding=options.sharding,
    )
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        running.create_task(events.run(heard, ended), name="order events")
        running.create_task(keys.keep_pruned(ended), name="pruning")
        try:
            await rpc.start(deadline)
            running.create_task(follow(rpc, ended), name="trust")
            yield GatewayParts(
                options=options,
                clock=clock,
                trust=trust,
                verifier=verifier,
                rpc=rpc,
                carnets=carnets,
                commands=commands,
                hub=hub,
                telemetry=broker.telemetry,
                journeys=journeys,
                playground=playground,
                checks={
                    "broker": lambda: broker.connected,
                    "replies": lambda: rpc.ready,
                    "events": lambda: events.ready,
                    "trust": lambda: trust.fresh,
                },
            )
        finally:
            hub.close()
            journeys.close()
            ended.set()
            await carnets.close()
            await rpc.close()
