"""Messages that the AMQP client cannot decode, and would close the whole connection over."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.common import FieldTable
from pamqp.header import ContentHeader
from pika.adapters.blocking_connection import BlockingChannel

from auth.errors import Code
from messaging import frame_guard
from messaging.frame_guard import read_header, readable_payload
from tests.messaging.market import sell
from tests.messaging.stall import Stall


def _nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return struct.pack(">I", len(table)) + table


class _Properties(pika.BasicProperties):  # type: ignore[misc]
    """Properties whose one header is replaced, on the wire, by other bytes."""

    def __init__(self, table: bytes) -> None:
        super().__init__(headers={"k": 1}, delivery_mode=2)
        self._table = table

    def encode(self) -> list[bytes]:
        written = b"".join(super().encode())
        plain = struct.pack(">I", 7) + b"\x01kI" + struct.pack(">i", 1)
        assert plain in written
        return [written.replace(plain, self._table)]


UNREADABLE: Final[dict[str, Callable[[], pika.BasicProperties]]] = {
    "a timestamp far beyond time": lambda: pika.BasicProperties(timestamp=2**62),
    "a type that is not UTF-8": lambda: pika.BasicProperties(type=b"\xff\xfe"),
    "a reply-to that is not UTF-8": lambda: pika.BasicProperties(reply_to=b"\xff\xfe"),
    "a header name that is not UTF-8": lambda: _Properties(
        struct.pack(">I", 8) + b"\x02\xff\xfeI" + struct.pack(">i", 1)
    ),
    "headers nested 3,000 deep": lambda: _Properties(_nested(3000)),
    "a timestamp far beyond time among the headers": lambda: _Properties(
        struct.pack(">I", 11) + b"\x01kT" + struct.pack(">Q", 2**62)
    ),
}


@pytest.fixture
def bomber(standing_url: str) -> Callable[[str, pika.BasicProperties], None]:
    """Publishes with a client that sends whatever it is told to."""

    def publish(routing_key: str, properties: pika.BasicProperties) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(standing_url))
        channel: BlockingChannel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("carnet.commands", routing_key, b"bomb", properties)
        connection.close()

    return publish


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_message_is_refused_and_the_connection_stays(
    standing: Stall, bomber: Callable[[str, pika.BasicProperties], None], name: str
) -> None:
    assert standing.consumer._subscriptions is not None
    (subscription,) = standing.consumer._subscriptions.each
    before = subscription.registration

    bomber("market.sell", UNREADABLE[name]())

    assert (await standing.dead_letter()).headers["carnet-reason"] == Code.UNKNOWN_TYPE
    assert subscription.registration is before
    await standing.send(sell("tea"))
    await standing.settled(2)
    assert await standing.sales() == ["tea"]


async def test_a_routing_key_that_is_not_utf_8_does_no_harm(
    standing: Stall, bomber: Callable[[str, pika.BasicProperties], None]
) -> None:
    bomber(b"market.\xff\xfe", pika.BasicProperties())  # type: ignore[arg-type]

    assert (await standing.dead_letter()).headers["carnet-reason"] == Code.UNKNOWN_TYPE
    assert standing.link.connected


def test_a_readable_frame_is_left_as_it_is() -> None:
    header = struct.pack(">HHQ", 60, 0, 4) + b"\x80\x00\x10application/json"

    assert readable_payload(2, header) is header


def test_an_unreadable_header_keeps_the_size_of_its_body() -> None:
    head = struct.pack(">HHQ", 60, 0, 4)

    assert readable_payload(2, head + b"\x80\x00\x02\xff\xfe") == head + b"\x00\x00"


def as_the_library(payload: bytes) -> tuple[Basic.Properties, int]:
    """What pamqp decodes, or no properties where it fails."""
    header = ContentHeader()
    try:
        header.unmarshal(payload)
    except Exception:  # noqa: BLE001 - it may raise anything
        return Basic.Properties(), struct.unpack_from(">HHQ", payload)[2]
    return header.properties, header.body_size


TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ANY: Final = st.one_of(
    TEXT, st.binary(max_size=9).map(bytearray), st.integers(-(2**31), 2**31 - 1), st.booleans()
)
NAMES: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WRITTEN: Final = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("content_type", "content_encoding", "correlation_id", "reply_to", "expiration"), TEXT
        ),
        **dict.fromkeys(("message_id", "message_type", "user_id", "app_id"), TEXT),
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 255),
        "timestamp": st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC)),
        "headers": st.one_of(st.dictionaries(NAMES, TEXT), st.dictionaries(NAMES, ANY)),
    },
)


@given(properties=WRITTEN, size=st.integers(0, 2**64 - 1), data=st.data())
def test_a_header_is_read_as_the_library_reads_it_whatever_is_broken(
    properties: dict[str, Any], size: int, data: st.DataObject
) -> None:
    whole = ContentHeader(0, size, Basic.Properties(**properties)).marshal()
    assert read_header(whole) == as_the_library(whole)

    head = struct.calcsize(">HHQ")
    cut = whole[: data.draw(st.integers(head, len(whole)), label="cut")]
    assert read_header(cut) == as_the_library(cut)

    at = data.draw(st.integers(0, len(whole) - 1), label="changed")
    changed = bytearray(whole)
    changed[at] = data.draw(st.integers(0, 255), label="to")
    assert read_header(bytes(changed)) == as_the_library(bytes(changed))


def test_the_usual_header_takes_no_help() -> None:
    """So that the comparison above is not one of the library with itself."""
    tokens: FieldTable = {"authorization": "Bearer a.b.c", "carnet-seal": "d.e.f"}
    properties = Basic.Properties("application/json", headers=tokens, delivery_mode=2)
    whole = ContentHeader(0, 4, properties).marshal()

    assert frame_guard._usual(whole) == properties
    assert frame_guard._usual(whole[:-1]) is None
