"""A message as it is written to a channel that publishes: one run of frames (AMQP 0-9-1 §4.2).

The client library makes an object of each frame and looks up how to encode each property; what is
published here has these few, and they are all strings but for two.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from pamqp import frame
from pamqp.commands import Basic

from messaging.envelope import Envelope

_FRAME: Final = struct.Struct(">BHI")
"""Type, channel, size."""
_FRAME_END: Final = b"\xce"
_FRAMING: Final = _FRAME.size + len(_FRAME_END)
_HEADER, _BODY = 2, 3
_HEAD: Final = struct.Struct(">HHQH")
"""Class, weight, size of the body, which properties there are (§4.2.6.1)."""
_BASIC: Final = 60
_LONG: Final = struct.Struct(">I")
_TIMESTAMP: Final = struct.Struct(">Q")

_PERSISTENT: Final = b"\x02"
_TRANSIENT: Final = b"\x01"

_CONTENT_TYPE: Final = 1 << 15
_CORRELATION_ID: Final = 1 << 10
_REPLY_TO: Final = 1 << 9
_EXPIRATION: Final = 1 << 8
_ALWAYS: Final = 1 << 13 | 1 << 12 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 3
"""Headers, delivery mode, message id, timestamp, type, app id."""


def frames_of(
    envelope: Envelope,
    *,
    channel: int,
    frame_max: int,
    message_id: str,
    client_id: str,
    now: float,
) -> bytes:
    """The frames of `basic.publish` (mandatory), of its properties, and of its body."""
    route, body = envelope.route, envelope.body
    pieces = [
        _publish(channel, route.exchange, route.routing_key),
        _frame(_HEADER, channel, _header(envelope, message_id, client_id, int(now))),
    ]
    size = frame_max - _FRAMING
    pieces += (
        _frame(_BODY, channel, body[start : start + size]) for start in range(0, len(body), size)
    )
    return b"".join(pieces)


@lru_cache(maxsize=1024)
def _publish(channel: int, exchange: str, routing_key: str) -> bytes:
    publish = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    return frame.marshal(publish, channel)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + _FRAME_END


def _header(envelope: Envelope, message_id: str, client_id: str, now: int) -> bytes:
    """The properties that there are, in the order of their flags, after those flags."""
    flags = _ALWAYS
    pieces = []
    if envelope.content_type:
        flags |= _CONTENT_TYPE
        pieces.append(_short(envelope.content_type))
    pieces += (_table(envelope.headers), _PERSISTENT if envelope.persistent else _TRANSIENT)
    if envelope.correlation_id:
        flags |= _CORRELATION_ID
        pieces.append(_short(envelope.correlation_id))
    if envelope.reply_to:
        flags |= _REPLY_TO
        pieces.append(_short(envelope.reply_to))
    if envelope.expiration is not None:
        flags |= _EXPIRATION
        pieces.append(_short(str(int(envelope.expiration * 1000))))
    pieces += (
        _short(message_id),
        _TIMESTAMP.pack(now),
        _short(envelope.route.type),
        _short(client_id),
    )
    return _HEAD.pack(_BASIC, 0, len(envelope.body), flags) + b"".join(pieces)


def _short(text: str) -> bytes:
    """A short string: at most 255 bytes (§4.2.5.3)."""
    data = text.encode()
    return bytes((len(data),)) + data


def _table(headers: Mapping[str, str]) -> bytes:
    """A field table of long strings (§4.2.5.5)."""
    fields = bytearray()
    for name, value in headers.items():
        data = value.encode()
        fields += _short(name) + b"S" + _LONG.pack(len(data)) + data
    return _LONG.pack(len(fields)) + fields
