"""Frames as they come, cut anywhere: what the taps take, and what is left to the client library.

The library reads with its own reader of frames.
"""

import asyncio
import struct
from dataclasses import dataclass, field
from typing import Final

from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from messaging.frame_reader import FrameReader
from messaging.taps import Tapped, Taps

TAPPED: Final = "ours"
WAIT: Final = 20.0


def content(*pieces: bytes, channel: int = 3, message_id: str = "m") -> bytes:
    header = ContentHeader(0, sum(map(len, pieces)), Basic.Properties(message_id=message_id))
    bodies = (frame.marshal(ContentBody(piece), channel) for piece in pieces)
    return frame.marshal(header, channel) + b"".join(bodies)


def delivery(
    tag: int, *pieces: bytes, consumer: str = TAPPED, channel: int = 3, message_id: str = "m"
) -> bytes:
    deliver = Basic.Deliver(consumer, tag, redelivered=tag % 2 == 0, routing_key="key")
    return frame.marshal(deliver, channel) + content(
        *pieces, channel=channel, message_id=message_id
    )


@dataclass
class Answers:
    """A channel's confirms, as they are told."""

    told: list[tuple[object, ...]] = field(default_factory=list)

    def confirmed(self, tag: int, *, multiple: bool) -> None:
        self.told.append(("confirmed", tag, multiple))

    def refused(self, tag: int, *, multiple: bool) -> None:
        self.told.append(("refused", tag, multiple))

    def returned(self, message_id: str | None) -> None:
        self.told.append(("returned", message_id))

    def closing(self) -> None:
        self.told.append(("closing",))


class Stream:
    """The way from the broker, by hand."""

    def __init__(self) -> None:
        self.taps = Taps()
        self.tapped: list[Tapped] = []
        self.blocked: list[bool] = []
        self.taps.open(TAPPED, self.tapped.append)
        self.source = asyncio.StreamReader()
        self.reader = FrameReader(self.source, self.taps, self.blocked.append)
        self.library = FrameReceiver(self.reader)  # type: ignore[arg-type]

    async def rest(self) -> list[object]:
        """All that the library reads until the end, but for signs of life."""
        self.source.feed_eof()
        read: list[object] = []
        async with asyncio.timeout(WAIT):
            try:
                async for _, _, read_frame in self.library:
                    read.append(read_frame)
            except AMQPConnectionError:
                pass
        return [each for each in read if not isinstance(each, Heartbeat)]


def names(frames: list[object]) -> list[str]:
    return [type(each).__name__ for each in frames]


WORDS: Final = b"".join(
    (
        frame.marshal(commands.Connection.Blocked("memory"), 0),
        delivery(1, b"one"),
        frame.marshal(commands.Channel.OpenOk(), 4),
        delivery(2, b"two ", b"halves"),
        delivery(3, consumer="theirs", channel=5),
        delivery(3),
        delivery(4, b"left to the library", consumer="theirs", channel=5),
        frame.marshal(commands.Connection.Unblocked(), 0),
        frame.marshal(Heartbeat(), 0),
    )
)
LIBRARY: Final = [
    "Blocked",
    "OpenOk",
    *("Deliver", "ContentHeader"),
    *("Deliver", "ContentHeader", "ContentBody"),
    "Unblocked",
]


def check_words(stream: Stream, read: list[object]) -> None:
    assert [(each.tag, each.redelivered, each.body) for each in stream.tapped] == [
        (1, False, b"one"),
        (2, True, b"two halves"),
        (3, False, b""),
    ]
    assert names(read) == LIBRARY
    assert stream.blocked == [True, False]


async def test_it_does_not_matter_where_the_bytes_are_cut() -> None:
    for cut in range(len(WORDS) + 1):
        stream = Stream()
        stream.source.feed_data(WORDS[:cut])
        reading = asyncio.create_task(stream.library.get_frame())
        await asyncio.sleep(0)

        stream.source.feed_data(WORDS[cut:])

        async with asyncio.timeout(WAIT):
            _, _, first = await reading
        check_words(stream, [first, *await stream.rest()])


async def test_byte_by_byte_it_is_the_same() -> None:
    stream = Stream()
    read: list[object] = []

    async def read_on() -> None:
        async for _, _, each in stream.library:
            read.append(each)

    reading = asyncio.create_task(read_on())
    for place in range(len(WORDS)):
        stream.source.feed_data(WORDS[place : place + 1])
        await asyncio.sleep(0)
    stream.source.feed_eof()
    async with asyncio.timeout(WAIT):
        await asyncio.wait({reading})

    check_words(stream, [each for each in read if not isinstance(each, Heartbeat)])
    assert isinstance(reading.exception(), AMQPConnectionError | None)


async def test_a_large_body_is_put_together_from_its_frames() -> None:
    stream = Stream()
    pieces = [bytes([number]) * 131_064 for number in range(5)]

    stream.source.feed_data(delivery(7, *pieces, message_id="large"))

    assert await stream.rest() == []
    [tapped] = stream.tapped
    assert tapped.body == b"".join(pieces)
    assert tapped.properties.message_id == "large"


async def test_content_of_several_channels_may_alternate() -> None:
    stream = Stream()
    deliver = [
        frame.marshal(Basic.Deliver(TAPPED, tag, routing_key="key"), 10 + tag) for tag in (1, 2)
    ]
    header = [frame.marshal(ContentHeader(0, 2, Basic.Properties()), 10 + tag) for tag in (1, 2)]
    halves = [
        frame.marshal(ContentBody(f"{half}{tag}"[:1].encode()), 10 + tag)
        for half in "ab"
        for tag in (1, 2)
    ]

    stream.source.feed_data(b"".join((*deliver, *header, *halves)))

    assert await stream.rest() == []
    assert [(each.tag, each.body) for each in stream.tapped] == [(1, b"ab"), (2, b"ab")]


async def test_what_cannot_be_decoded_arrives_without_properties() -> None:
    stream = Stream()
    bad = struct.pack(">HHQ", 60, 0, 4) + b"\x00\x20\x02\xff\xfe"  # a type that is no UTF-8
    deliver = frame.marshal(Basic.Deliver(TAPPED, 1, routing_key="key"), 3)
    header = struct.pack(">BHI", 2, 3, len(bad)) + bad + b"\xce"

    stream.source.feed_data(deliver + header + frame.marshal(ContentBody(b"bomb"), 3))
    stream.source.feed_data(delivery(2, b"next"))

    assert await stream.rest() == []
    assert [(each.body, each.properties.message_type) for each in stream.tapped] == [
        (b"bomb", None),
        (b"next", None),
    ]
    assert [each.properties.message_id for each in stream.tapped] == [None, "m"]


async def test_the_library_sees_a_sign_of_life_while_only_deliveries_come() -> None:
    """It would end the connection for silence: the broker sends no heartbeat beside deliveries."""
    stream = Stream()

    stream.source.feed_data(delivery(1, b"one") + delivery(2, b"two"))

    async with asyncio.timeout(WAIT):
        _, channel, sign = await stream.library.get_frame()
    assert isinstance(sign, Heartbeat)
    assert channel == 0
    assert len(stream.tapped) == 2
    assert stream.reader.frames == 6


async def test_a_delivery_that_a_closed_channel_cut_off_is_no_part_of_the_next() -> None:
    stream = Stream()
    whole = delivery(5, b"never ", b"ends")
    cut_off = whole[: -len(frame.marshal(ContentBody(b"ends"), 3))]
    close = frame.marshal(commands.Channel.Close(320, "gone", 0, 0), 3)
    opened = frame.marshal(commands.Channel.OpenOk(), 3)

    stream.source.feed_data(cut_off + close + opened + delivery(1, b"of the next"))

    assert names(await stream.rest()) == ["Close", "OpenOk"]
    assert [(each.tag, each.body) for each in stream.tapped] == [(1, b"of the next")]


async def test_what_comes_after_the_tap_was_closed_is_the_library_s() -> None:
    stream = Stream()
    stream.taps.close(TAPPED)

    stream.source.feed_data(delivery(1, b"late"))

    assert names(await stream.rest()) == ["Deliver", "ContentHeader", "ContentBody"]
    assert stream.tapped == []


async def test_the_broker_s_answers_are_told_to_whoever_publishes_on_the_channel() -> None:
    stream, answers = Stream(), Answers()
    stream.taps.open_confirms(3, answers)
    returned = frame.marshal(Basic.Return(312, "NO_ROUTE", "e", "k"), 3)

    stream.source.feed_data(
        returned
        + content(b"a large ", b"body", message_id="unroutable")
        + frame.marshal(Basic.Ack(4, multiple=False), 3)
        + frame.marshal(Basic.Ack(9, multiple=True), 3)
        + frame.marshal(Basic.Nack(10, multiple=False, requeue=True), 3)
        + frame.marshal(Basic.Nack(12, multiple=True, requeue=False), 3)
        + frame.marshal(Basic.Ack(1, multiple=False), 4)
    )

    assert names(await stream.rest()) == ["Ack"]  # of a channel that is none of ours
    assert answers.told == [
        ("returned", "unroutable"),
        ("confirmed", 4, False),
        ("confirmed", 9, True),
        ("refused", 10, False),
        ("refused", 12, True),
    ]


async def test_that_the_broker_closes_the_channel_is_told_before_the_library_answers() -> None:
    """Nothing may be published after that answer: it would close the whole connection."""
    stream, answers = Stream(), Answers()
    stream.taps.open_confirms(3, answers)

    stream.source.feed_data(frame.marshal(commands.Channel.Close(404, "NOT_FOUND", 60, 40), 3))

    async with asyncio.timeout(WAIT):
        _, _, close = await stream.library.get_frame()
    assert isinstance(close, commands.Channel.Close)
    assert answers.told == [("closing",)]


def test_a_channel_number_may_be_another_s_before_its_last_user_has_left() -> None:
    taps, before, now = Taps(), Answers(), Answers()
    taps.open_confirms(3, before)
    taps.open_confirms(3, now)

    taps.close_confirms(3, before)

    assert taps.confirms(3) is now
    taps.close_confirms(3, now)
    assert taps.confirms(3) is None
