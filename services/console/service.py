"""The console put together: its parts on a broker, and the server over them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.publisher import Publisher
from messaging.rpc import RpcClient
from messaging.trust import LiveTrust
from services.broker_login import broker_tokens
from services.console.app import create_app
from services.console.letters import Letters
from services.console.parts import ConsoleParts
from services.console.queues import Queues
from services.console.settings import ConsoleSettings
from services.console.watching import Watching
from services.contracts.topology import CONSOLE_TOPOLOGY, GATEWAY, OPERATOR_DESK
from services.http import HttpServer
from services.identity import Identity, load_identity
from services.operations.queues import queues_of
from services.operations.verdicts import places_with
from services.startup import require_broker, require_standing
from services.telemetry.opening import open_telemetry
from services.trust import open_live_trust, trust_supply
from services.web.connection import BoundedHttpProtocol
from services.web.measured import measured


async def serve(settings: ConsoleSettings, shutdown: asyncio.Event) -> None:
    """Serve until `shutdown`; then finish what is in flight, give letters back, and close.

    Raises:
        StartError, AuthError, MessagingError: it cannot start, in one line.
    """
    telemetry = open_telemetry("console", os.environ)
    broker = Broker(settings.amqp_url.get_secret_value(), name=OPERATOR_DESK, telemetry=telemetry)
    trust = open_live_trust(OPERATOR_DESK, settings, broker, clock=time.time)
    identity = load_identity(OPERATOR_DESK, settings, trust.key_set)
    identity.sealer.follow(trust)
    require_standing(settings, identity, trust.key_set, now=time.time())
    try:
        await broker.start(settings.start_deadline, tokens=broker_tokens(settings, identity.sealer))
        await require_broker(
            broker,
            CONSOLE_TOPOLOGY,
            client_id=OPERATOR_DESK,
            clock=time.time,
            deadline=settings.start_deadline,
        )
        async with _assembled(settings, identity, trust, broker) as parts:
            http = HttpServer(
                create_app(parts),
                host=settings.host,
                port=settings.port,
                drain=settings.shutdown_deadline,
                protocol=BoundedHttpProtocol,
            )
            async with measured(settings, parts.checks, telemetry.metrics):
                await http.start()
                await shutdown.wait()
                await http.stop()
    finally:
        await broker.close(settings.shutdown_deadline)


@asynccontextmanager
async def _assembled(
    settings: ConsoleSettings, identity: Identity, trust: LiveTrust, broker: Broker
) -> AsyncIterator[ConsoleParts]:
    """The console's parts, running for as long as the context lasts."""
    clock, options = time.time, settings.options()
    publisher = Publisher(broker, client_id=OPERATOR_DESK, clock=clock)
    rpc = RpcClient(
        broker,
        publisher,
        identity.sealer,
        Verifier(trust, audience=OPERATOR_DESK),
        trust=trust,
        decryption=identity.decryption,
        clock=clock,
    )
    checks = {
        "broker": lambda: broker.connected,
        "replies": lambda: rpc.ready,
        "trust": lambda: trust.fresh,
    }
    letters = Letters(
        places_with(options.declared),
        broker=broker,
        publisher=publisher,
        rpc=rpc,
        trust=trust,
        clock=clock,
    )
    queues = Queues(broker, queues_of(options.shards, options.declared))
    watching = Watching(
        options.watches, queues, telemetry=broker.telemetry, checks=checks, clock=clock
    )
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        try:
            await rpc.start(settings.start_deadline)
            running.create_task(trust.run(trust_supply(rpc, settings), ended), name="trust")
            running.create_task(watching.run(ended), name="watching")
            yield ConsoleParts(
                options=options,
                clock=clock,
                trust=trust,
                # Access tokens are made out to the gateway; who may use them here, `bearer` says.
                verifier=Verifier(trust, audience=GATEWAY),
                rpc=rpc,
                letters=letters,
                queues=queues,
                watching=watching,
                telemetry=broker.telemetry,
                checks=checks,
            )
        finally:
            ended.set()
            await rpc.close()
