"""The order consumer as most would write it: one transaction for each message, nothing verified.

The consumer: https://docs.aio-pika.com/rabbitmq-tutorial/2-work-queues.html. The transaction:
https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html (`async_sessionmaker`, `begin`).
SQLite has one writer, so there it has one connection, and the durability that our own has (WAL,
`synchronous=FULL`).
"""

import asyncio
import time
import uuid
from typing import Any

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import JSON, BigInteger, String, event
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.contender import PREFETCH, Job, Meter
from services.contracts.orders import PlaceOrder


class Base(DeclarativeBase):
    """The tables."""


class Order(Base):
    """An order with its lines, in one row."""

    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    currency: Mapped[str] = mapped_column(String(3))
    total: Mapped[str] = mapped_column(String(16))
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    placed_at: Mapped[int] = mapped_column(BigInteger)


def open_engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        return create_async_engine(url)
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=600)

    @event.listens_for(engine.sync_engine, "connect")
    def durable(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine


async def main(job: Job) -> None:
    engine = open_engine(job.options["database"])
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with engine.begin() as setting_up:
        await setting_up.run_sync(Base.metadata.create_all)
    meter, done = Meter(job.count), asyncio.Event()
    connection = await aio_pika.connect(job.url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(job.queue)

        async def on_message(message: AbstractIncomingMessage) -> None:
            async with message.process():
                wanted = PlaceOrder.model_validate_json(message.body)
                placed = Order(
                    id=message.message_id or str(uuid.uuid4()),
                    currency=wanted.currency,
                    total=str(sum(line.amount for line in wanted.lines)),
                    lines=[line.model_dump(mode="json") for line in wanted.lines],
                    placed_at=int(time.time() * 1000),
                )
                async with sessions() as session, session.begin():
                    session.add(placed)
            if meter.tick():
                meter.end()
                done.set()

        await queue.consume(on_message)
        await done.wait()
        await channel.close()  # whose end comes after the last acknowledgement
    await engine.dispose()
    meter.report()


if __name__ == "__main__":
    uvloop.run(main(Job.read()))
