"""What the broker hands over is made readable before the AMQP client sees it.

The client library closes the whole connection on a message whose properties it cannot decode:
a `type` that is not UTF-8, a timestamp in the year 146140482, a header table nested too deep.
The broker stores such a message and delivers it again after each reconnect, so that anyone who
may publish could stop a consumer with one message. Here the properties of such a message are
replaced by none. It then arrives like any other without a token, and is refused.
"""

import struct
from typing import Final

from pamqp import constants
from pamqp.header import ContentHeader

_CONTENT_HEAD: Final = struct.Struct(">HHQ")
"""Class, weight, size of the body (§4.2.6.1)."""

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


def read_header(payload: bytes) -> ContentHeader:
    """A content header, without properties where they cannot be decoded."""
    header = _decoded(payload)
    if header is None:
        _, _, size = _CONTENT_HEAD.unpack_from(payload)
        header = ContentHeader(0, size)
    return header


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
