"""Deliveries taken from the stream of frames at once, past the client library.

The library makes three objects, two queue entries and a task of every delivery. What arrives on
a consumer that has a tap is put together here, while its bytes are read, and handed over by a
plain call; everything else takes the library's way.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pamqp.commands import Basic

from messaging.frame_guard import read_header

_DELIVER: Final = struct.pack(">HH", 60, 60)
"""`basic.deliver` (AMQP 0-9-1 §1.8.3.9)."""

_TAG: Final = struct.Struct(">Q?")
"""Delivery tag, redelivered."""


@dataclass(frozen=True, slots=True)
class Tapped:
    """One delivery as the broker sent it. Nothing in it is believed."""

    tag: int
    redelivered: bool
    properties: Basic.Properties
    body: bytes


Receive = Callable[[Tapped], None]
"""Told of each delivery while the connection is read: it stores it, and nothing else."""


@dataclass(slots=True)
class _Content:
    """A delivery of which not all frames are here."""

    receive: Receive
    tag: int
    redelivered: bool
    properties: Basic.Properties | None = None
    missing: int = 0
    parts: list[bytes] = field(default_factory=list)


class Taps:
    """The taps of one connection after the other, by consumer tag, which is never used again."""

    def __init__(self) -> None:
        self._receivers: dict[bytes, Receive] = {}

    def open(self, consumer_tag: str, receive: Receive) -> None:
        """Have all that arrives for this consumer told to `receive`."""
        self._receivers[consumer_tag.encode()] = receive

    def close(self, consumer_tag: str) -> None:
        """Leave to the library what still arrives; it knows no such consumer and drops it."""
        self._receivers.pop(consumer_tag.encode(), None)

    def receiver(self, consumer_tag: bytes) -> Receive | None:
        return self._receivers.get(consumer_tag)


class Assembly:
    """Puts the deliveries of one connection together from their frames."""

    def __init__(self, taps: Taps) -> None:
        self._taps = taps
        self._open: dict[int, _Content] = {}
        """By channel: a channel's content frames are never mixed with its others (§4.2.6)."""

    def method(self, channel: int, payload: bytes) -> bool:
        """Whether a method begins a delivery of ours."""
        self._open.pop(channel, None)  # of a channel that was closed in the middle of one
        if not payload.startswith(_DELIVER):
            return False
        end = 5 + payload[4]
        receive = self._taps.receiver(payload[5:end])
        if receive is None:
            return False
        tag, redelivered = _TAG.unpack_from(payload, end)
        self._open[channel] = _Content(receive, tag, redelivered)
        return True

    def header(self, channel: int, payload: bytes) -> bool:
        """Whether the content header was one of ours."""
        content = self._open.get(channel)
        if content is None:
            return False
        header = read_header(payload)
        content.properties = header.properties
        content.missing = header.body_size
        if not content.missing:
            self._end(channel, content)
        return True

    def body(self, channel: int, payload: bytes) -> bool:
        """Whether the piece of a body was one of ours."""
        content = self._open.get(channel)
        if content is None:
            return False
        content.parts.append(payload)
        content.missing -= len(payload)
        if content.missing <= 0:
            self._end(channel, content)
        return True

    def _end(self, channel: int, content: _Content) -> None:
        del self._open[channel]
        parts = content.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        properties = content.properties or Basic.Properties()
        content.receive(Tapped(content.tag, content.redelivered, properties, body))
