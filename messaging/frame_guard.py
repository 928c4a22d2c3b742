"""What the broker hands over is made readable before the AMQP client sees it.

The client library closes the whole connection on a message whose properties it cannot decode:
a `type` that is not UTF-8, a timestamp in the year 146140482, a header table nested too deep.
The broker stores such a message and delivers it again after each reconnect, so that anyone who
may publish could stop a consumer with one message. Here the properties of such a message are
replaced by none. It then arrives like any other without a token, and is refused.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp import constants
from pamqp.header import ContentHeader
from yarl import URL

from messaging.silence import Silence

_HEAD: Final = struct.Struct(">BHI")
"""Frame type, channel, size of the payload (AMQP 0-9-1 §4.2.3)."""

_CONTENT_HEAD: Final = struct.Struct(">HHQ")
"""Class, weight, size of the body (§4.2.6.1)."""

_NO_PROPERTIES: Final = b"\x00\x00"
_BASIC_DELIVER: Final = struct.pack(">HH", 60, 60)
_BLOCKED: Final = struct.pack(">HH", 10, 60)
_UNBLOCKED: Final = struct.pack(">HH", 10, 61)
"""`connection.blocked` and `.unblocked` (rabbitmq.com/docs/connection-blocked)."""

_DELIVERY_TAG_AND_FLAGS: Final = 9


def readable_payload(frame_type: int, payload: bytes) -> bytes:
    """The payload of a frame, or what is left of it where the client would fail to decode it."""
    if frame_type == constants.FRAME_HEADER and not _decodes(payload):
        return payload[: _CONTENT_HEAD.size] + _NO_PROPERTIES
    if frame_type == constants.FRAME_METHOD and payload.startswith(_BASIC_DELIVER):
        return _readable_delivery(payload)
    return payload


def _decodes(payload: bytes) -> bool:
    try:
        ContentHeader().unmarshal(payload)
    except Exception:  # noqa: BLE001 - whatever it raises here, the reader would die of it
        return False
    return True


def _readable_delivery(payload: bytes) -> bytes:
    """`basic.deliver`, with an empty routing key where the publisher's is not UTF-8."""
    start = len(_BASIC_DELIVER)
    start += 1 + payload[start] + _DELIVERY_TAG_AND_FLAGS
    start += 1 + payload[start]
    try:
        payload[start + 1 :].decode("utf-8")
    except UnicodeDecodeError:
        return payload[:start] + b"\x00"
    return payload


class GuardedReader:
    """The part of `asyncio.StreamReader` that the client reads frames with."""

    def __init__(
        self, reader: asyncio.StreamReader, on_blocked: Callable[[bool], None] = lambda _: None
    ) -> None:
        """`on_blocked`: told whenever the broker stops taking messages, or takes them again."""
        self._reader = reader
        self._on_blocked = on_blocked
        self._pending = b""
        self.frames = 0
        """How many have been read."""

    def at_eof(self) -> bool:
        return not self._pending and self._reader.at_eof()

    async def read(self, limit: int = -1) -> bytes:
        pending, self._pending = self._pending, b""
        return pending or await self._reader.read(limit)

    async def readexactly(self, size: int) -> bytes:
        """Bytes of the present frame; the client never asks for more than the rest of it."""
        if not self._pending:
            self._pending = await self._frame()
        wanted, self._pending = self._pending[:size], self._pending[size:]
        return wanted

    async def _frame(self) -> bytes:
        head = await self._reader.readexactly(_HEAD.size)
        if head.startswith(b"AMQP"):  # a protocol header: the broker refuses ours
            return head
        frame_type, channel, size = _HEAD.unpack(head)
        rest = await self._reader.readexactly(size + 1)
        self.frames += 1
        payload = readable_payload(frame_type, rest[:-1])
        if channel == 0 and frame_type == constants.FRAME_METHOD:
            self._note(payload)
        return _HEAD.pack(frame_type, channel, len(payload)) + payload + rest[-1:]

    def _note(self, payload: bytes) -> None:
        if payload.startswith(_BLOCKED):
            self._on_blocked(True)
        elif payload.startswith(_UNBLOCKED):
            self._on_blocked(False)


class GuardedTransport(TransportFactory):
    """Opens TCP or TLS, by the URL, with a guarded reader; ends it when the broker is silent."""

    def __init__(self, on_blocked: Callable[[bool], None]) -> None:
        self._on_blocked = on_blocked

    async def create(self, url: URL, **kwargs: Any) -> tuple[Any, asyncio.StreamWriter]:
        tls = url.scheme == "amqps"
        factory = TLSTransportFactory() if tls else TCPTransportFactory()
        reader, writer = await factory.create(url, **kwargs)
        guarded = GuardedReader(reader, self._on_blocked)
        heartbeat = float(url.query.get("heartbeat", 0))
        Silence(lambda: guarded.frames, writer, heartbeat=heartbeat).watch()
        return guarded, writer
