"""Reading dead letters: from the front, without taking any, and given back in their order.

The letters are held unacknowledged on channels of a window each, so that no more than a window's
worth is in memory, however many there are. What is not removed is given back when the reading
ends, window by window; if the reader dies instead, the broker does it, and RabbitMQ 3.10 then in
no order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.abc import DeliveredMessage

from messaging.errors import BrokerUnavailableError
from messaging.letters import Letter
from messaging.link import Link, broker_faults

WINDOW: Final = 1000
"""Letters held on one channel."""

STEP: Final = 10.0
"""Seconds for one step with the broker."""

AT_ONCE: Final = 32
"""Letters given back in one step: of so many RabbitMQ keeps the order."""

LOOK: Final = 0.005
LOOKS: Final = 100
"""Seconds between two looks at whether they are back, and how many looks: where somebody else
takes them meanwhile, nobody can see it."""

QUIET: Final = 5.0
"""Seconds without another letter, after which somebody else is taken to hold the rest."""


@dataclass(slots=True, eq=False)
class _Window:
    """A channel with a consumer on it, until it has its share."""

    channel: AbstractChannel
    underlay: UnderlayChannel
    arrived: asyncio.Queue[tuple[int, Letter]] = field(default_factory=asyncio.Queue)
    held: set[int] = field(default_factory=set)
    """Delivery tags that are not acknowledged."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    consumer: str | None = None

    async def consume(self, queue: str) -> None:
        self.channel.close_callbacks.add(lambda *_: self.lost.set())

        async def receive(message: DeliveredMessage) -> None:
            tag = message.delivery_tag or 0
            self.held.add(tag)
            self.arrived.put_nowait((tag, Letter.of(message)))

        consumed = await self.underlay.basic_consume(queue, receive)
        self.consumer = consumed.consumer_tag

    async def stop(self) -> None:
        """Ask for no more."""
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            await self.underlay.basic_cancel(consumer)

    async def close(self) -> None:
        """Have the broker take back all that it still holds, if it does not yet."""
        with suppress(BrokerUnavailableError), broker_faults():
            async with asyncio.timeout(STEP):
                await self.channel.close()


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A letter that is held until it is removed, or given back with the others."""

    letter: Letter
    _window: _Window
    _tag: int

    async def remove(self) -> None:
        """Take it off the queue.

        Raises:
            BrokerUnavailableError: the connection broke; it is still there, or gone.
        """
        if self._window.lost.is_set():
            raise BrokerUnavailableError("the connection broke; the letter is still there")
        with broker_faults():
            async with asyncio.timeout(STEP):
                await self._window.underlay.basic_ack(self._tag)
        self._window.held.discard(self._tag)


class Reading:
    """One look through a queue of dead letters; what comes in meanwhile is left for the next."""

    def __init__(self, link: Link, queue: str, *, window: int = WINDOW) -> None:
        self._link = link
        self._queue = queue
        self._size = window
        self._windows: list[_Window] = []
        self.total = 0
        """Letters that lay ready when it began."""

    async def __aenter__(self) -> Self:
        with broker_faults():
            channel = await self._link.channel(STEP)
            async with asyncio.timeout(STEP):
                self.total = await _count(channel, self._queue) or await _front(
                    channel, self._queue
                )
                await channel.close()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Give back what was not removed, in its order.

        First nobody asks for more: what is given back must not come to ourselves again. Where the
        connection is lost, the broker takes it all back by itself.
        """
        open_windows = [window for window in self._windows if not window.lost.is_set()]
        try:
            with suppress(BrokerUnavailableError), broker_faults():
                for window in open_windows:
                    async with asyncio.timeout(STEP):
                        await window.stop()
                for window in open_windows:
                    await self._give_back(window)
        finally:
            # Also where that was broken off: on an open channel they would be held for as long as
            # the connection lasts, and nobody would see them.
            await asyncio.gather(*(window.close() for window in open_windows))

    async def _give_back(self, window: _Window) -> None:
        """A few at a time, each once the ones before are back.

        RabbitMQ 3.10 mixes up what is given back at once, and what it has not got to yet.
        """
        tags = sorted(window.held)
        for first in range(0, len(tags), AT_ONCE):
            some = tags[first : first + AT_ONCE]
            async with asyncio.timeout(STEP):
                before = await _count(window.channel, self._queue)
                await window.underlay.basic_nack(some[-1], multiple=True, requeue=True)
                for _ in range(LOOKS):
                    if await _count(window.channel, self._queue) >= before + len(some):
                        break
                    await asyncio.sleep(LOOK)
        await window.close()

    async def letters(self) -> AsyncIterator[Held]:
        """Each letter in its turn.

        Raises:
            BrokerUnavailableError: the connection broke; what was not removed is still there.
        """
        for _ in range(self.total):
            window = await self._ready()
            try:
                async with asyncio.timeout(QUIET):
                    tag, letter = await window.arrived.get()
            except TimeoutError:
                if window.lost.is_set():
                    raise BrokerUnavailableError("the connection broke in the middle") from None
                return
            yield Held(letter, window, tag)

    async def _ready(self) -> _Window:
        """The window in which the next letter is, or will be."""
        if self._windows:
            present = self._windows[-1]
            if not present.arrived.empty() or len(present.held) < self._size:
                return present
            with broker_faults():
                async with asyncio.timeout(STEP):
                    await present.stop()
            if not present.arrived.empty():
                return present
        with broker_faults():
            channel = await self._link.channel(STEP)
            async with asyncio.timeout(STEP):
                await channel.set_qos(prefetch_count=self._size)
                window = _Window(channel, await channel.get_underlay_channel())
                self._windows.append(window)
                await window.consume(self._queue)
        return window


async def _front(channel: AbstractChannel, queue: str) -> int:
    """Letters that lie ready, by taking the first one and giving it back.

    A quorum queue that has not said within 250 ms how many there are is told of as an empty one.
    """
    taken = await (await channel.get_queue(queue, ensure=False)).get(fail=False, timeout=STEP)
    if taken is None:
        return 0
    await taken.nack(requeue=True)
    return 1 + (taken.message_count or 0)


async def _count(channel: AbstractChannel, queue: str) -> int:
    """Letters that lie ready."""
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0
