"""Putting messages into a queue ahead, and taking what others put there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain, repeat
from typing import Any, Final

import aiormq
from aiormq.abc import AbstractChannel, ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from benchmarks.letters import Letter

PATIENCE: Final = 120.0
LOOK: Final = 0.02
TOGETHER: Final = 200
FRAME: Final = 100_000
"""Bytes of a body in one frame; the broker takes 131,072 with all around it."""


@asynccontextmanager
async def channel_of(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel without confirms, on a connection of its own."""
    connection = await aiormq.connect(url)
    try:
        yield await connection.channel(publisher_confirms=False)
    finally:
        await connection.close()


async def depth(channel: AbstractChannel, queue: str) -> int:
    """How many messages are ready."""
    return (await channel.queue_declare(queue, passive=True)).message_count or 0


async def make_queue(url: str, queue: str) -> None:
    """A quorum queue, empty."""
    async with channel_of(url) as channel:
        await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.queue_purge(queue)


@asynccontextmanager
async def listening(url: str, exchange: str) -> AsyncIterator[None]:
    """Somebody listens to an exchange, as a gateway does to events: else each comes back."""
    async with channel_of(url) as channel:
        queue = (await channel.queue_declare(exclusive=True)).queue or ""
        await channel.queue_bind(queue, exchange, "#")
        yield


async def fill(url: str, queue: str, letters: Sequence[Letter], *, times: int = 1) -> None:
    """Put them into the queue in their order, so many times; return when all are there."""
    async with channel_of(url) as channel:
        wanted = await depth(channel, queue) + len(letters) * times
        await _send(channel, queue, letters, times)
        async with asyncio.timeout(PATIENCE):
            while await depth(channel, queue) < wanted:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(LOOK)


async def send(url: str, queue: str, letters: Sequence[Letter]) -> None:
    """Put them into a queue that is consumed meanwhile."""
    async with channel_of(url) as channel:
        await _send(channel, queue, letters)
        await depth(channel, queue)  # answered after all that was sent before


async def _send(
    channel: AbstractChannel, queue: str, letters: Sequence[Letter], times: int = 1
) -> None:
    """Encode each once, and write some hundred together: else the client is slower than the broker.

    That is what `basic_publish` puts into the same queue of frames, a message at a time.
    """
    chunks = [
        b"".join(_encoded(channel, queue, letter) for letter in letters[first : first + TOGETHER])
        for first in range(0, len(letters), TOGETHER)
    ]
    for chunk in chain.from_iterable(repeat(chunks, times)):
        written = asyncio.get_running_loop().create_future()
        frame = ChannelFrame(chunk, should_close=False, drain_future=written)
        await channel.connection.write_queue.put(frame)
        async with asyncio.timeout(PATIENCE):
            await written


def _encoded(channel: AbstractChannel, queue: str, letter: Letter) -> bytes:
    """A message to the default exchange, as frames."""
    parts = [letter.body[at : at + FRAME] for at in range(0, len(letter.body), FRAME)]
    frames: list[Any] = [
        Basic.Publish(routing_key=queue),
        ContentHeader(properties=letter.properties, body_size=len(letter.body)),
        *map(ContentBody, parts),
    ]
    return ChannelFrame.marshall(channel.number, frames).payload


async def wait_until_empty(url: str, queue: str) -> None:
    """Return when no message is ready any more; some may be in the hands of consumers."""
    async with channel_of(url) as channel, asyncio.timeout(PATIENCE):
        while await depth(channel, queue):  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(LOOK)


async def purge(url: str, queue: str) -> int:
    """Empty a queue; how many messages were ready."""
    async with channel_of(url) as channel:
        return (await channel.queue_purge(queue)).message_count or 0


async def take(url: str, queue: str, count: int) -> list[Letter]:
    """Take so many messages out of a queue, as they are."""
    async with channel_of(url) as channel:
        taken = []
        for _ in range(count):
            message = await channel.basic_get(queue, no_ack=True)
            taken.append(Letter(message.body, message.header.properties))
        return taken
