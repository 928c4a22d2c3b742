"""What the client library reads frames from: guarded, and without what a tap takes.

Bytes are read as they come, many frames at a time. What belongs to a tapped consumer
(`messaging.taps`) is handed over on the spot; the rest waits here for the library.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp import constants
from yarl import URL

from messaging.frame_guard import readable_payload
from messaging.silence import Silence
from messaging.taps import Assembly, Taps

CHUNK: Final = 256 * 1024
"""Most bytes that are read at once."""

_HEAD: Final = struct.Struct(">BHI")
"""Frame type, channel, size of the payload (AMQP 0-9-1 §4.2.3); an end octet follows."""

_FRAMING: Final = _HEAD.size + 1
_PROTOCOL_HEADER: Final = b"AMQP"
_PROTOCOL_HEADER_SIZE: Final = 8

_BLOCKED: Final = struct.pack(">HH", 10, 60)
_UNBLOCKED: Final = struct.pack(">HH", 10, 61)
"""`connection.blocked` and `.unblocked` (rabbitmq.com/docs/connection-blocked)."""

_HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
HEARTBEAT_EVERY: Final = 1.0
"""Seconds between signs of life for the library, where there is any: it ends a connection on which
it sees none, and the broker sends no heartbeat while it sends deliveries."""


class FrameReader:
    """The part of `asyncio.StreamReader` that the client library reads frames with."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        taps: Taps,
        on_blocked: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`on_blocked`: told whenever the broker stops taking messages, or takes them again."""
        self._reader = reader
        self._assembly = Assembly(taps)
        self._on_blocked = on_blocked
        self._rest = b""
        """Bytes of a frame that is not whole."""
        self._frames: deque[bytes] = deque()
        self._pending = b""
        """What the library has not read of the frame that it reads."""
        self._sign_of_life = 0.0
        self.frames = 0
        """How many have been read."""

    def at_eof(self) -> bool:
        waiting = self._pending or self._frames or self._rest
        return not waiting and self._reader.at_eof()

    async def read(self, limit: int = -1) -> bytes:
        """Whatever comes: the library asks only once what it has read is no AMQP."""
        pending, self._pending = self._pending, b""
        return pending or await self._reader.read(limit)

    async def readexactly(self, size: int) -> bytes:
        """Bytes of the present frame; the library never asks for more than the rest of it."""
        if not self._pending:
            while not self._frames:
                await self._fill()
            self._pending = self._frames.popleft()
        wanted, self._pending = self._pending[:size], self._pending[size:]
        return wanted

    async def _fill(self) -> None:
        chunk = await self._reader.read(CHUNK)
        if not chunk:
            raise asyncio.IncompleteReadError(self._rest, None)
        data = self._rest + chunk if self._rest else chunk
        start, waiting = 0, len(self._frames)
        before = self.frames
        while len(data) - start >= _FRAMING:
            frame_type, channel, size = _HEAD.unpack_from(data, start)
            refused = data.startswith(_PROTOCOL_HEADER, start)  # the broker speaks another version
            end = start + (_PROTOCOL_HEADER_SIZE if refused else _FRAMING + size)
            if end > len(data):
                break
            self.frames += 1
            if refused:
                self._frames.append(data[start:end])
            else:
                payload = data[start + _HEAD.size : end - 1]
                self._take(frame_type, channel, payload, data[end - 1])
            start = end
        self._rest = data[start:]
        if len(self._frames) - waiting < self.frames - before:  # a tap took some
            self._give_sign_of_life()

    def _take(self, frame_type: int, channel: int, payload: bytes, last: int) -> None:
        """One frame: to a tap, or to where the library finds it. `last`: its end octet."""
        if last == constants.FRAME_END and self._tapped(frame_type, channel, payload):
            return
        payload = readable_payload(frame_type, payload)
        if channel == 0 and frame_type == constants.FRAME_METHOD:
            self._note(payload)
        head = _HEAD.pack(frame_type, channel, len(payload))
        self._frames.append(head + payload + bytes((last,)))

    def _tapped(self, frame_type: int, channel: int, payload: bytes) -> bool:
        match frame_type:
            case constants.FRAME_METHOD:
                return self._assembly.method(channel, payload)
            case constants.FRAME_HEADER:
                return self._assembly.header(channel, payload)
            case constants.FRAME_BODY:
                return self._assembly.body(channel, payload)
            case _:
                return False

    def _give_sign_of_life(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._sign_of_life >= HEARTBEAT_EVERY:
            self._sign_of_life = now
            self._frames.append(_HEARTBEAT)

    def _note(self, payload: bytes) -> None:
        if payload.startswith(_BLOCKED):
            self._on_blocked(True)
        elif payload.startswith(_UNBLOCKED):
            self._on_blocked(False)


class GuardedTransport(TransportFactory):
    """Opens TCP or TLS, by the URL, with a reader of ours; ends it when the broker is silent."""

    def __init__(self, taps: Taps, on_blocked: Callable[[bool], None]) -> None:
        self._taps = taps
        self._on_blocked = on_blocked
        self.writer: asyncio.StreamWriter | None = None
        """Where the connection is written to, once it is there."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[Any, asyncio.StreamWriter]:
        tls = url.scheme == "amqps"
        factory = TLSTransportFactory() if tls else TCPTransportFactory()
        reader, writer = await factory.create(url, **kwargs)
        frames = FrameReader(reader, self._taps, self._on_blocked)
        heartbeat = float(url.query.get("heartbeat", 0))
        Silence(lambda: frames.frames, writer, heartbeat=heartbeat).watch()
        self.writer = writer
        return frames, writer
