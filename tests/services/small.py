"""A small service of one handler, with its queue, outbox and RPC client, beside a real issuer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy import MetaData

from auth.encryption import DecryptionKey
from auth.policy import Policy, at_acceptance
from auth.principal import Principal
from auth.seal import Sealer
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import CommandConsumer, ConsumerParts
from messaging.consumer_parts import PREFETCH
from messaging.contract import Command, Event
from messaging.database import open_database
from messaging.onward import Onward
from messaging.publisher import Publisher
from messaging.relay import OutboxRelay
from messaging.rpc import RpcClient
from messaging.tables import MessagingTables
from messaging.topology import (
    COMMANDS,
    DEAD,
    EVENTS,
    REPLY,
    RETRY,
    RPC,
    Binding,
    Topology,
    WorkQueue,
    declare,
)
from messaging.unit_of_work import UnitOfWork
from services.contracts.topology import GATEWAY
from services.identity import load_key_set
from services.keyring import Keyring
from services.onward_carnets import ExchangedCarnets
from services.own_carnets import OwnCarnets
from services.settings import ServiceSettings
from tests.messaging.raw import WAIT, until
from tests.services.gateway.stack import Stack

ONE_DAY: Final = timedelta(days=1)


@dataclass
class Service:
    """A small service: one queue, one command, an outbox."""

    client_id: str
    trust: FixedTrust
    broker: Broker
    sealer: Sealer
    decryption: DecryptionKey
    queue: WorkQueue
    database_url: str
    handled: list[tuple[str, Principal]] = field(default_factory=list)
    ahead: float = 0.0
    """Seconds that its clock is ahead of ours."""

    def clock(self) -> float:
        return time.time() + self.ahead

    @property
    def rpc(self) -> RpcClient:
        """Another client of RPC, in its name."""
        return RpcClient(
            self.broker,
            Publisher(self.broker, client_id=self.client_id),
            self.sealer,
            Verifier(self.trust, audience=self.client_id),
            trust=self.trust,
            decryption=self.decryption,
            clock=time.time,
        )

    @asynccontextmanager
    async def running(
        self,
        contract: type[Command] | type[Event],
        policy: Policy,
        handler: Callable[..., Awaitable[None]],
        *,
        onward: tuple[Onward, ...] = (),
        beside: tuple[type[Command], Policy, Callable[..., Awaitable[None]]] | None = None,
        prefetch: int = PREFETCH,
    ) -> AsyncIterator[None]:
        """`beside`: another command that it takes."""
        contracts = [contract] if beside is None else [contract, beside[0]]
        metadata = MetaData()
        tables = MessagingTables.of(metadata)
        database = open_database(self.database_url)
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await declare(
            self.broker,
            Topology(
                exchanges=(COMMANDS, EVENTS, RPC, REPLY, RETRY, DEAD),
                queues=self.queue.queues(),
                bindings=(
                    *(
                        Binding(self.queue.name, each.route.exchange, each.route.routing_key)
                        for each in contracts
                    ),
                    *self.queue.bindings(),
                ),
            ),
            deadline=WAIT,
        )
        publisher = Publisher(self.broker, client_id=self.client_id)
        verifier = Verifier(self.trust, audience=self.client_id)
        rpc = self.rpc
        relay = OutboxRelay(
            database=database,
            outbox=tables.outbox,
            publisher=publisher,
            sealer=self.sealer,
            clock=self.clock,
            carnets=OwnCarnets(rpc, self.sealer, clock=time.time),
        )

        async def tell_nobody(*_: object) -> None:
            """Nothing to say about refusals here."""

        parts = ConsumerParts(
            broker=self.broker,
            publisher=publisher,
            verifier=verifier,
            database=database,
            tables=tables,
            unit_of_work=UnitOfWork,
            on_refused=tell_nobody,
            committed=relay.wake,
            clock=self.clock,
            service=self.client_id,
            onward=ExchangedCarnets(rpc, clock=self.clock),
            prefetch=prefetch,
        )
        consumer = CommandConsumer(self.queue)
        if issubclass(contract, Event):
            consumer.hears(contract)(handler)
        else:
            rule = at_acceptance(ONE_DAY)
            consumer.handles(contract, policy, expiry=rule, onward=onward)(handler)
            if beside is not None:
                other, others, other_handler = beside
                consumer.handles(other, others, expiry=rule)(other_handler)
        shutdown = asyncio.Event()
        await rpc.start(WAIT)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consumer.run(parts, shutdown))
            tasks.create_task(relay.run(shutdown))
            try:
                await until(lambda: consumer.ready)
                yield
            finally:
                shutdown.set()
        await rpc.close()
        await database.close()


def service(stack: Stack, client_id: str, broker: Broker) -> Service:
    keyring = Keyring(stack.folder / "keys", None)
    trust = FixedTrust(load_key_set(stack.settings(ServiceSettings, GATEWAY), now=time.time()))
    return Service(
        client_id,
        trust,
        broker,
        Sealer(client_id, keyring.seal(client_id)),
        keyring.encryption(client_id),
        WorkQueue(f"{client_id}.commands"),
        f"sqlite+aiosqlite:///{stack.folder / client_id}.db",
    )
