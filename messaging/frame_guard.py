"""What the broker hands over is made readable before the AMQP client sees it.

The client library closes the whole connection on a message whose properties it cannot decode:
a `type` that is not UTF-8, a timestamp in the year 146140482, a header table nested too deep.
The broker stores such a message and delivers it again after each reconnect, so that anyone who
may publish could stop a consumer with one message. Here the properties of such a message are
replaced by none. It then arrives like any other without a token, and is refused.
"""

import struct
from functools import lru_cache
from typing import Final

from pamqp import constants
from pamqp.commands import Basic
from pamqp.header import ContentHeader

_CONTENT_HEAD: Final = struct.Struct(">HHQ")
"""Class, weight, size of the body (§4.2.6.1)."""

_FLAGS: Final = struct.Struct(">H")
_LONG: Final = struct.Struct(">I")
_PROPERTIES: Final = tuple(Basic.Properties.flags.items())
"""In the order in which they are written (§4.2.6.1)."""
_USUAL: Final = sum(flag for name, flag in _PROPERTIES if name != "timestamp")
_NUMBERS: Final = frozenset({"delivery_mode", "priority"})
_LONG_STRING: Final = ord("S")
_NO_PROPERTIES: Final = b"\x00\x00"
_BASIC_DELIVER: Final = struct.pack(">HH", 60, 60)
_DELIVERY_TAG_AND_FLAGS: Final = 9


def readable_payload(frame_type: int, payload: bytes) -> bytes:
    """The payload of a frame, or what is left of it where the client would fail to decode it."""
    if frame_type == constants.FRAME_HEADER and _decoded(payload) is None:
        return payload[: _CONTENT_HEAD.size] + _NO_PROPERTIES
    if frame_type == constants.FRAME_METHOD and payload.startswith(_BASIC_DELIVER):
        return _readable_delivery(payload)
    return payload


def read_header(payload: bytes) -> tuple[Basic.Properties, int]:
    """Properties and size of a body; no properties where they cannot be decoded."""
    _, _, size = _CONTENT_HEAD.unpack_from(payload)
    if (usual := _usual(payload)) is not None:
        return usual, size
    header = _decoded(payload)
    return (Basic.Properties() if header is None else header.properties), size


def _usual(payload: bytes) -> Basic.Properties | None:
    """As the library decodes them, a third of the time: texts, octets, a table of nothing but text.

    None for all others, and for whatever is odd: what that is, the library says.
    """
    properties = Basic.Properties()
    try:
        at = _CONTENT_HEAD.size
        (flags,) = _FLAGS.unpack_from(payload, at)
        if flags & ~_USUAL:
            return None
        at += _FLAGS.size
        value: object
        for name in _named(flags):
            if name == "headers":
                start, at = at + _LONG.size, at + _LONG.size + _LONG.unpack_from(payload, at)[0]
                value = _texts(payload, start, at)
            elif name in _NUMBERS:
                value, at = payload[at], at + 1
            else:
                start, at = at + 1, at + 1 + payload[at]
                value = payload[start:at].decode()
            setattr(properties, name, value)
    except (IndexError, ValueError, struct.error):
        return None
    return properties if at <= len(payload) else None


@lru_cache(maxsize=64)
def _named(flags: int) -> list[str]:
    """The properties that are there, in their order."""
    return [name for name, flag in _PROPERTIES if flags & flag]


def _texts(payload: bytes, at: int, end: int) -> dict[str, str]:
    """A table of long strings (§4.2.5.5).

    Raises:
        IndexError, ValueError, struct.error: it is none, or not all here.
    """
    table: dict[str, str] = {}
    while at < end:
        start = at + 1
        at = start + payload[at]
        name = payload[start:at].decode()
        if payload[at] != _LONG_STRING:
            raise ValueError("not text")
        start = at + 1 + _LONG.size
        at = start + _LONG.unpack_from(payload, at + 1)[0]
        table[name] = payload[start:at].decode()
    if at != end:
        raise ValueError("longer than its table")
    return table


def _decoded(payload: bytes) -> ContentHeader | None:
    header = ContentHeader()
    try:
        header.unmarshal(payload)
    except Exception:  # noqa: BLE001 - whatever it raises here, the reader would die of it
        return None
    return header


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
