"""Deliveries and confirms taken from the stream of frames at once, past the client library.

The library makes three objects, two queue entries and a task of every delivery. What arrives for
a consumer that has a tap is put together here, while its bytes are read, and handed over by a
plain call; so are the broker's answers on a channel that publishes. Everything else takes the
library's way.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from pamqp.commands import Basic

from messaging.frame_guard import read_header

_CLOSE: Final = struct.pack(">HH", 20, 40)
_DELIVER: Final = struct.pack(">HH", 60, 60)
_RETURN: Final = struct.pack(">HH", 60, 50)
_ACK: Final = struct.pack(">HH", 60, 80)
_NACK: Final = struct.pack(">HH", 60, 120)
"""Classes and methods (AMQP 0-9-1 §1.8; `basic.nack` is RabbitMQ's)."""

_METHOD: Final = 4
_TAG: Final = struct.Struct(">Q?")
"""Delivery tag; whether it was redelivered, or whether all up to it are meant."""

_MULTIPLE: Final = 1


class Tapped(NamedTuple):
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


class Confirms(Protocol):
    """Who publishes on a channel: told of the broker's answers while the connection is read."""

    def confirmed(self, tag: int, *, multiple: bool) -> None: ...
    def refused(self, tag: int, *, multiple: bool) -> None: ...
    def returned(self, message_id: str | None) -> None: ...
    def closing(self) -> None: ...


class Taps:
    """The taps of one connection: by consumer tag, and by channel for those who publish."""

    def __init__(self) -> None:
        self._receivers: dict[bytes, Receive] = {}
        self._confirms: dict[int, Confirms] = {}

    def open(self, consumer_tag: str, receive: Receive) -> None:
        """Have all that arrives for this consumer told to `receive`."""
        self._receivers[consumer_tag.encode()] = receive

    def close(self, consumer_tag: str) -> None:
        """Leave to the library what still arrives; it knows no such consumer and drops it."""
        self._receivers.pop(consumer_tag.encode(), None)

    def open_confirms(self, channel: int, confirms: Confirms) -> None:
        """Have the broker's answers on this channel told to `confirms`."""
        self._confirms[channel] = confirms

    def close_confirms(self, channel: int, confirms: Confirms) -> None:
        """The channel is closed. Its number may be another's already."""
        if self._confirms.get(channel) is confirms:
            del self._confirms[channel]

    def confirms(self, channel: int) -> Confirms | None:
        return self._confirms.get(channel)

    def receiver(self, consumer_tag: bytes) -> Receive | None:
        return self._receivers.get(consumer_tag)


class Assembly:
    """Puts the deliveries of one connection together from their frames."""

    def __init__(self, taps: Taps) -> None:
        self._taps = taps
        self._open: dict[int, _Content] = {}
        """By channel: a channel's content frames are never mixed with its others (§4.2.6)."""

    def method(self, channel: int, payload: bytes) -> bool:
        """Whether a method was one of ours, or begins a delivery of ours."""
        self._open.pop(channel, None)  # of a channel that was closed in the middle of one
        method = payload[:_METHOD]
        if method == _DELIVER:
            return self._deliver(channel, payload)
        confirms = self._taps.confirms(channel)
        if confirms is None:
            return False
        if method == _CLOSE:
            confirms.closing()
            return False  # the library answers
        if method == _RETURN:
            self._open[channel] = _Content(
                lambda tapped: confirms.returned(tapped.properties.message_id), 0, redelivered=False
            )
        elif method == _ACK:
            tag, multiple = _TAG.unpack_from(payload, _METHOD)
            confirms.confirmed(tag, multiple=multiple)
        elif method == _NACK:
            tag, _ = _TAG.unpack_from(payload, _METHOD)
            confirms.refused(tag, multiple=bool(payload[-1] & _MULTIPLE))
        else:
            return False
        return True

    def _deliver(self, channel: int, payload: bytes) -> bool:
        end = _METHOD + 1 + payload[_METHOD]
        receive = self._taps.receiver(payload[_METHOD + 1 : end])
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
        content.properties, content.missing = read_header(payload)
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
