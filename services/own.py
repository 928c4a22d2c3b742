"""Runs a service of one's own: the parts put together, from what the service says of itself.

`services/orders/__main__.py` shows the same by hand, for a service that needs more.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from auth.errors import RefusalError
from auth.message import VerifiedMessage
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import CommandConsumer, ConsumerParts
from messaging.consumer_parts import RefusalHook
from messaging.database import Database, open_database
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.relay import OutboxRelay
from messaging.rpc import RpcClient
from messaging.tables import MessagingTables
from messaging.trust import LiveTrust
from messaging.unit_of_work import UnitOfWork
from services.broker_login import broker_tokens
from services.declared import DeclaredService
from services.errors import StartError
from services.health import HealthServer
from services.identity import Identity, load_identity
from services.onward_carnets import ExchangedCarnets
from services.own_carnets import OwnCarnets
from services.runtime import run_service
from services.settings import ServiceSettings
from services.startup import require_broker, require_standing
from services.telemetry.opening import open_telemetry
from services.trust import open_live_trust, trust_supply


async def tell_nobody(_refusal: RefusalError, _message: VerifiedMessage, _work: Any) -> None:
    """A refusal is kept with its dead letter, and nothing more is said."""


@dataclass(frozen=True, slots=True)
class OwnService:
    """A service of one's own.

    declared: what the others know of it.   commands: what it does.
    tables, unit_of_work, migrations: of its database.
    on_refused: what it says of a genuine command that was refused.
    """

    declared: DeclaredService
    commands: CommandConsumer
    tables: MessagingTables
    unit_of_work: type[UnitOfWork]
    migrations: Path
    on_refused: RefusalHook = tell_nobody

    def check(self) -> None:
        """Make sure that it does what it declares, and no more.

        Raises:
            StartError: a type without a handler, or a handler without its line in service.toml.
        """
        declared, handlers = self.declared, {h.contract.route.type: h for h in self.commands}
        wanted = declared.commands.keys() | declared.hears
        for message_type in sorted(wanted ^ handlers.keys()):
            missing = "no handler" if message_type in wanted else "no line in service.toml"
            raise StartError(f"{declared.client}: {message_type} has {missing}")
        for message_type, taken in declared.commands.items():
            handler = handlers[message_type]
            if lacking := handler.policy.scopes - taken.scopes:
                raise StartError(
                    f"{declared.client}: the handler of {message_type} requires "
                    f"{' '.join(sorted(lacking))}, which service.toml does not name"
                )
            if undeclared := {hop.to for hop in handler.onward} - declared.onward.keys():
                raise StartError(
                    f"{declared.client}: the handler of {message_type} acts at "
                    f"{' '.join(sorted(undeclared))}, which service.toml does not name"
                )


def run(service: OwnService, settings: type[ServiceSettings] = ServiceSettings) -> NoReturn:
    """Run it until SIGTERM or SIGINT, by the settings in the environment."""

    async def serve_it(read: ServiceSettings, shutdown: asyncio.Event) -> None:
        await serve(service, read, shutdown)

    run_service(service.declared.client, settings, serve_it)


async def serve(service: OwnService, settings: ServiceSettings, shutdown: asyncio.Event) -> None:
    """Run until `shutdown`; then finish what runs, give back the rest, and close.

    Raises:
        StartError, AuthError, MessagingError: it cannot start; each says why in one line.
    """
    service.check()
    clock, client_id = time.time, service.declared.client
    telemetry = open_telemetry(client_id, os.environ)
    broker = Broker(settings.amqp_url.get_secret_value(), name=client_id, telemetry=telemetry)
    trust = open_live_trust(client_id, settings, broker, clock=clock)
    identity = load_identity(client_id, settings, trust.key_set)
    identity.sealer.follow(trust)
    require_standing(settings, identity, trust.key_set, now=clock())
    await upgrade(settings.database_url.get_secret_value(), service.migrations)
    database = open_database(settings.database_url.get_secret_value())
    health = HealthServer(
        {"commands": lambda: service.commands.ready, "trust": lambda: trust.fresh},
        metrics=telemetry.metrics,
        host=settings.host,
        port=settings.port,
    )
    try:
        await broker.start(settings.start_deadline, tokens=broker_tokens(settings, identity.sealer))
        await require_broker(
            broker,
            service.declared.topology,
            client_id=client_id,
            clock=clock,
            deadline=settings.start_deadline,
        )
        await health.start()
        parts = _Parts(service, settings, broker, trust, identity, database, clock)
        await parts.run(shutdown)
    finally:
        await health.stop()
        await broker.close(settings.shutdown_deadline)
        await database.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a service runs on, once the broker is there."""

    service: OwnService
    settings: ServiceSettings
    broker: Broker
    trust: LiveTrust
    identity: Identity
    database: Database
    clock: Callable[[], float]

    async def run(self, shutdown: asyncio.Event) -> None:
        """Consume until `shutdown`; what is committed by then is still published."""
        client_id, sealer = self.service.declared.client, self.identity.sealer
        publisher = Publisher(self.broker, client_id=client_id)
        verifier = Verifier(self.trust, audience=client_id)
        rpc = RpcClient(
            self.broker,
            publisher,
            sealer,
            verifier,
            trust=self.trust,
            decryption=self.identity.decryption,
            clock=self.clock,
        )
        relay = OutboxRelay(
            database=self.database,
            outbox=self.service.tables.outbox,
            publisher=publisher,
            sealer=sealer,
            clock=self.clock,
            carnets=OwnCarnets(rpc, sealer, clock=self.clock),
        )
        consumer = ConsumerParts(
            broker=self.broker,
            publisher=publisher,
            verifier=verifier,
            database=self.database,
            tables=self.service.tables,
            unit_of_work=self.service.unit_of_work,
            on_refused=self.service.on_refused,
            committed=relay.wake,
            clock=self.clock,
            service=client_id,
            drain=self.settings.shutdown_deadline,
            onward=ExchangedCarnets(rpc, clock=self.clock),
        )
        await rpc.start(self.settings.start_deadline)
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as running:
            running.create_task(relay.run(drained), name="outbox relay")
            supply = trust_supply(rpc, self.settings)
            running.create_task(self.trust.run(supply, drained), name="trust")
            await self.service.commands.run(consumer, shutdown)
            drained.set()
        await rpc.close()
