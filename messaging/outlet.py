"""A channel to publish on: many messages in flight, each with a confirm of its own.

The client library takes a lock, two futures and a queue for each message. Here a message is one
write, and one future, which the broker's answer resolves as it is read (`messaging.taps`). All
else about the channel is the library's.
"""

import asyncio
import os
from itertools import takewhile
from typing import Final

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as UnderlayChannel

from messaging.content import frames_of
from messaging.envelope import Envelope
from messaging.taps import Taps

UNSENT: Final = 64 * 1024
"""Bytes that the connection has not taken, from which on whoever publishes waits for it."""


class ReturnedError(Exception):
    """No queue takes it."""


class RefusedError(Exception):
    """The broker does not want to be responsible for it (`basic.nack`)."""


class Outlet:
    """One channel in confirm mode. Nobody else may publish on it: the broker counts."""

    def __init__(
        self,
        channel: AbstractChannel,
        underlay: UnderlayChannel,
        writer: asyncio.StreamWriter,
        taps: Taps,
    ) -> None:
        """writer, taps: of the connection that the channel is on."""
        self._channel = channel
        self._number = underlay.number
        self._frame_max = underlay.connection.connection_tune.frame_max
        self._writer = writer
        self._taps = taps
        self._gathered = bytearray()
        """What is written at the end of this step of the loop, as one."""
        self._turn = asyncio.Lock()
        """Held while somebody waits for the connection; who comes later waits behind."""
        self._tag = 0
        self._waiting: dict[int, tuple[str, asyncio.Future[None]]] = {}
        """By the number of the message on this channel: its id, and who waits for its confirm."""
        self._numbers: dict[str, int] = {}
        taps.open_confirms(self._number, self)
        underlay.closing.add_done_callback(self._on_closed)
        self.closed = False

    @property
    def owed(self) -> int:
        """Messages that the broker has not answered for, those included that nobody waits for."""
        return len(self._waiting)

    @property
    def pressed(self) -> bool:
        """Whether whoever publishes waits for the connection first (`relieve`)."""
        return self._turn.locked() or self._unsent > UNSENT

    async def relieve(self) -> None:
        """Return once the connection has taken what was sent, and it is our turn."""
        async with self._turn:
            self._write()
            await self._writer.drain()

    def send(self, envelope: Envelope, *, client_id: str, now: float) -> asyncio.Future[None]:
        """Send it; the future is done once the broker has confirmed.

        It raises:
            ReturnedError, RefusedError: the broker has not.
            aiormq's errors of channel and connection: what closed the channel.
        """
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.closed:
            confirmed.set_exception(ConnectionError("the channel is closed"))
            return confirmed
        # Fresh for each attempt: what is returned is known by it.
        message_id = os.urandom(16).hex()
        content = frames_of(
            envelope,
            channel=self._number,
            frame_max=self._frame_max,
            message_id=message_id,
            client_id=client_id,
            now=now,
        )
        self._tag += 1
        self._waiting[self._tag] = (message_id, confirmed)
        self._numbers[message_id] = self._tag
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._write)
        self._gathered += content
        return confirmed

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    @property
    def _unsent(self) -> int:
        """Bytes that the connection has not taken."""
        return len(self._gathered) + self._writer.transport.get_write_buffer_size()

    def _write(self) -> None:
        content, self._gathered = self._gathered, bytearray()
        if content and not self.closed:
            self._writer.write(content)

    # What the broker says, as it is read

    def confirmed(self, tag: int, *, multiple: bool) -> None:
        """The broker is responsible for this message, or for all up to it."""
        self._answer(tag, multiple, None)

    def refused(self, tag: int, *, multiple: bool) -> None:
        """The broker is not."""
        self._answer(tag, multiple, RefusedError())

    def returned(self, message_id: str | None) -> None:
        """No queue takes it. Its confirm follows."""
        number = self._numbers.get(message_id or "")
        if number is not None:
            _resolve(self._waiting[number][1], ReturnedError())

    def closing(self) -> None:
        """The broker closes the channel, and the library is about to answer.

        What is sent after that costs the whole connection, or counts on another channel.
        """
        self.closed = True

    def _answer(self, tag: int, multiple: bool, error: Exception | None) -> None:  # noqa: FBT001
        tags = [tag]
        if multiple:
            tags = list(takewhile(tag.__ge__, self._waiting))  # they are in ascending order
        for answered in tags:
            waiting = self._waiting.pop(answered, None)
            if waiting is not None:
                message_id, confirmed = waiting
                del self._numbers[message_id]
                _resolve(confirmed, error)

    def _on_closed(self, closing: asyncio.Future[object]) -> None:
        self.closed = True
        self._taps.close_confirms(self._number, self)
        error = None if closing.cancelled() else closing.exception()
        for _, confirmed in self._waiting.values():
            _resolve(confirmed, error or ConnectionError("the channel was closed"))
        self._waiting.clear()
        self._numbers.clear()


def _resolve(confirmed: asyncio.Future[None], error: BaseException | None) -> None:
    """Tell whoever waits, if anybody still does."""
    if confirmed.done():
        return
    if error is None:
        confirmed.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        confirmed.cancel()
    else:
        confirmed.set_exception(error)
