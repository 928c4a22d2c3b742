"""Messages that the AMQP client cannot decode, and would close the whole connection over."""

import struct
from collections.abc import Callable
from typing import Final

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from auth.errors import Code
from messaging.frame_guard import readable_payload
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
