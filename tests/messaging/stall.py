"""The market's stall: its consumer at work on a real broker and a real database."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import (
    Column,
    Executable,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    text,
)

from auth.errors import RefusalError
from auth.message import VerifiedMessage
from auth.policy import at_acceptance, requires
from auth.principal import Principal
from messaging.broker import Broker
from messaging.consumer import CommandConsumer, ConsumerParts
from messaging.database import Database, open_database
from messaging.publisher import Publisher
from messaging.relay import OutboxRelay
from messaging.tables import MessagingTables
from messaging.unit_of_work import UnitOfWork
from tests.messaging.market import (
    MARKET,
    ONE_DAY,
    SELL_SCOPE,
    WORK,
    Message,
    Sell,
    Sold,
    SwitchableTrust,
    Unsold,
    make_trust,
    party,
    verifier_of,
)
from tests.messaging.raw import WAIT, Raw, until

METADATA = MetaData()
TABLES = MessagingTables.of(METADATA)
SALES = Table(
    "sales",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("what", String(100), nullable=False),
    Column("who", String(100), nullable=False),
)


@dataclass
class Stall:
    """A consumer whose handler a test can disturb; `before` runs inside the handler."""

    link: Broker
    publisher: Publisher
    raw: Raw
    database: Database
    trust: SwitchableTrust = field(default_factory=make_trust)
    before: Callable[[Sell], Awaitable[None]] | None = None
    before_refusal: Callable[[], Awaitable[None]] | None = None
    starts: list[str] = field(default_factory=list)
    """What the handler was started with, in order, also where it failed later."""
    refusals: list[RefusalError] = field(default_factory=list)
    works: list[UnitOfWork] = field(default_factory=list)
    """The units of work of the refusals."""
    shutdown: asyncio.Event = field(default_factory=asyncio.Event)
    consumer: CommandConsumer = field(default_factory=lambda: CommandConsumer(WORK))
    running: list[asyncio.Task[None]] = field(default_factory=list)

    last_work: UnitOfWork = field(init=False)
    """Of the handler that was started last."""

    def __post_init__(self) -> None:
        self.relay = OutboxRelay(
            database=self.database,
            outbox=TABLES.outbox,
            publisher=self.publisher,
            sealer=party(MARKET).sealer,
            clock=time.time,
        )
        self.parts = ConsumerParts(
            broker=self.link,
            publisher=self.publisher,
            verifier=verifier_of(MARKET, self.trust),
            database=self.database,
            tables=TABLES,
            unit_of_work=UnitOfWork,
            on_refused=self._tell,
            committed=self.relay.wake,
            clock=time.time,
            service=MARKET,
        )
        self._register(together=False)

    def share(self) -> None:
        """Have many sales done in one transaction, from the next `open` on."""
        self.consumer = CommandConsumer(WORK)
        self._register(together=True)

    def _register(self, *, together: bool) -> None:
        expiry = at_acceptance(ONE_DAY)
        self.consumer.handles(Sell, requires(SELL_SCOPE), expiry=expiry, together=together)(
            self._sell
        )

    async def _sell(self, command: Sell, caller: Principal, work: UnitOfWork) -> None:
        self.starts.append(command.what)
        self.last_work = work
        sale = {"id": work.message.seal.jti, "what": command.what, "who": caller.subject}
        await work.session.execute(insert(SALES).values(sale))
        work.publish(Sold(what=command.what), subject=caller.subject)
        if self.before is not None:
            await self.before(command)

    async def _tell(
        self, refusal: RefusalError, message: VerifiedMessage, work: UnitOfWork
    ) -> None:
        self.refusals.append(refusal)
        self.works.append(work)
        if self.before_refusal is not None:
            await self.before_refusal()
        assert message.principal is not None
        work.publish(Unsold(code=refusal.code), subject=message.principal.subject)

    async def open(self, **parts: Any) -> None:
        """Start consuming, with some of the parts exchanged, and the relay."""
        self.parts = replace(self.parts, **parts)
        self.shutdown = asyncio.Event()
        self.running = [
            asyncio.create_task(self.consumer.run(self.parts, self.shutdown)),
            asyncio.create_task(self.relay.run(self.shutdown)),
        ]
        await until(lambda: self.consumer.ready)

    async def close(self) -> None:
        """Stop as on SIGTERM."""
        self.shutdown.set()
        async with asyncio.timeout(WAIT):
            await asyncio.gather(*self.running)
        self.running = []

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.publisher.publish(message.envelope, deadline=WAIT)

    async def settled(self, count: int) -> None:
        """Wait until so many deliveries have had their outcome."""
        await until(lambda: self.consumer.counts.total() >= count)

    async def dead_letter(self) -> AbstractIncomingMessage:
        return await self.raw.next(WORK.dead)

    async def sales(self) -> list[str]:
        """What is sold, as stored."""
        async with self.database.session() as session:
            return sorted((await session.scalars(select(SALES.c.what))).all())

    async def until_rows(self, table: Table, count: int, within: float = WAIT) -> None:
        """Wait until a table has so many rows, whoever writes or removes them."""
        async with asyncio.timeout(within):
            while await self.rows(table) != count:  # noqa: ASYNC110 - a table has no event
                await asyncio.sleep(0.02)

    async def rows(self, table: Table) -> int:
        async with self.database.session() as session:
            return await session.scalar(select(func.count()).select_from(table)) or 0

    async def execute(self, statement: str | Executable) -> None:
        async with self.database.transaction() as session:
            await session.execute(text(statement) if isinstance(statement, str) else statement)

    async def empty(self) -> None:
        """Forget what was, and leave nothing in the queues."""
        for queue in (WORK.name, WORK.dead):
            await (await self.raw.channel.get_queue(queue, ensure=False)).purge()
        async with self.database.transaction() as session:
            for table in METADATA.sorted_tables:
                await session.execute(delete(table))
        self.consumer.counts.clear()
        self.starts.clear()
        self.refusals.clear()

    def waiting(self) -> int:
        """Deliveries that were handed over and are not settled."""
        subscriptions = self.consumer._subscriptions
        registrations = [each.registration for each in subscriptions.each] if subscriptions else []
        return sum(len(registration.unsettled) for registration in registrations if registration)


@asynccontextmanager
async def open_stall(
    link: Broker, publisher: Publisher, raw: Raw, database_url: str
) -> AsyncIterator[Stall]:
    """A stall with its tables, not yet consuming."""
    database = open_database(database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    stall = Stall(link, publisher, raw, database)
    try:
        yield stall
        if stall.running:
            await stall.close()
    finally:
        for task in stall.running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await database.close()
