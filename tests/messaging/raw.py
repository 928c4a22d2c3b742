"""The broker as anybody may use it: publishes and reads messages past everything that we wrote."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

WAIT: Final = 20.0
"""Seconds within which what a test waits for must come."""


class Raw:
    """One plain channel."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        headers: Mapping[str, Any] | None = None,
        **properties: Any,
    ) -> None:
        message = aio_pika.Message(
            body,
            headers=dict(headers or {}),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            **properties,
        )
        target = await self.channel.get_exchange(exchange, ensure=False)
        await target.publish(message, routing_key, timeout=WAIT)

    async def next(self, queue: str, within: float = WAIT) -> AbstractIncomingMessage:
        """The next message of a queue, taken off it."""
        arrived: asyncio.Future[AbstractIncomingMessage] = asyncio.Future()

        async def take(message: AbstractIncomingMessage) -> None:
            if not arrived.done():
                arrived.set_result(message)

        await self.channel.set_qos(prefetch_count=1)
        source = await self.channel.get_queue(queue, ensure=False)
        tag = await source.consume(take)
        try:
            async with asyncio.timeout(within):
                message = await arrived
        finally:
            await source.cancel(tag)
        await message.ack()
        return message

    async def take(self, queue: str, count: int | None = None) -> list[AbstractIncomingMessage]:
        """The next `count` messages of a queue, or all that lie ready there."""
        source = await self.channel.get_queue(queue, ensure=False)
        wanted = await self.count(queue) if count is None else count
        taken: list[AbstractIncomingMessage] = []
        await self.channel.set_qos(prefetch_count=0)
        if wanted:
            async with asyncio.timeout(WAIT), source.iterator() as messages:
                async for message in messages:
                    await message.ack()
                    taken.append(message)
                    if len(taken) == wanted:
                        break
        return taken

    async def exists(self, queue: str) -> bool:
        """Whether the broker has it. Asked on a channel of its own, which a no closes."""
        asking = self.channel._connection.channel()  # type: ignore[attr-defined]
        await asking.initialize()
        try:
            await asking.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return False
        await asking.close()
        return True

    async def count(self, queue: str) -> int:
        """Messages that lie ready in a queue."""
        source = await self.channel.declare_queue(queue, passive=True)
        return source.declaration_result.message_count or 0

    async def until_count(self, queue: str, count: int) -> None:
        """Wait until so many messages lie ready in a queue."""
        async with asyncio.timeout(WAIT):
            while await self.count(queue) != count:  # noqa: ASYNC110 - a queue has no event
                await asyncio.sleep(0.02)

    async def listen(self, exchange: str, routing_key: str) -> str:
        """The name of a queue that from now on receives what is published there."""
        queue = await self.channel.declare_queue(exclusive=True)
        await queue.bind(exchange, routing_key)
        return queue.name


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that says nothing by itself when it happens."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - a counter or a flag has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def raw_channel(url: str) -> AsyncIterator[Raw]:
    """A plain connection with one channel."""
    connection = await aio_pika.connect(url, timeout=WAIT)
    try:
        yield Raw(await connection.channel())
    finally:
        await connection.close()
