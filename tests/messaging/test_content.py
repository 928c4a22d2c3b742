"""What is written to the broker is, byte for byte, what the client library would write."""

from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from auth.message import Route
from messaging.content import frames_of
from messaging.envelope import Envelope

NOW: Final = 1_800_000_000.75
FRAMING: Final = 8

short = st.text(max_size=63)  # at most 4 bytes each: 252
envelopes = st.builds(
    Envelope,
    route=st.builds(Route, st.just("carnet.commands"), st.just("orders.place"), short.filter(bool)),
    body=st.binary(max_size=200),
    headers=st.dictionaries(
        st.sampled_from(["authorization", "carnet-seal", "traceparent"]), st.text(), max_size=3
    ).map(lambda headers: dict(sorted(headers.items()))),  # as the library sorts them
    content_type=st.none() | short,
    correlation_id=st.none() | short,
    reply_to=st.none() | short,
    expiration=st.none() | st.floats(0, 1e6),
    persistent=st.booleans(),
)


@given(envelopes, st.integers(1, 65535), st.integers(9, 300))
def test_frames_are_those_of_the_library(envelope: Envelope, channel: int, frame_max: int) -> None:
    written = frames_of(
        envelope,
        channel=channel,
        frame_max=frame_max,
        message_id="0" * 32,
        client_id="api-gateway",
        now=NOW,
    )

    assert written == _by_the_library(envelope, channel, frame_max - FRAMING)


def _by_the_library(envelope: Envelope, channel: int, size: int) -> bytes:
    route, body, expiration = envelope.route, envelope.body, envelope.expiration
    properties = Basic.Properties(
        content_type=envelope.content_type,
        headers=dict(envelope.headers),
        delivery_mode=2 if envelope.persistent else 1,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
        expiration=None if expiration is None else str(int(expiration * 1000)),
        message_id="0" * 32,
        timestamp=datetime.fromtimestamp(int(NOW), UTC),
        message_type=route.type,
        app_id="api-gateway",
    )
    publish = Basic.Publish(exchange=route.exchange, routing_key=route.routing_key, mandatory=True)
    pieces: list[Basic.Publish | ContentHeader | ContentBody]
    pieces = [publish, ContentHeader(0, len(body), properties)]
    pieces += [ContentBody(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join(frame.marshal(piece, channel) for piece in pieces)


def test_a_property_that_is_too_long_is_not_sent() -> None:
    envelope = Envelope(Route("carnet.rpc", "users.rpc", "t"), b"", correlation_id="c" * 256)

    with pytest.raises(ValueError, match="range"):
        frames_of(envelope, channel=1, frame_max=4096, message_id="m", client_id="c", now=NOW)
