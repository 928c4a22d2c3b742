"""What is sent: a sealed body with its route and the AMQP properties of its kind."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from auth.message import AUTHORIZATION, BEARER, CARNET_SEAL, Route
from messaging.sharding import SHARD

JSON: Final = "application/json"
JOSE: Final = "application/jose"

MAX_HEADERS: Final = 16 * 1024
"""Bytes that all headers may have together. A table over the frame size (128 KiB) makes the
broker close the whole connection."""

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
TRACE_HEADERS: Final = (TRACEPARENT, TRACESTATE)
"""W3C Trace Context. No seal covers them: whoever writes to the broker can put anything there."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE: Final = re.compile(r"[\x20-\x7e]{0,512}")

COPY_HEADERS: Final = frozenset({"cc", "bcc"})
"""They make the broker deliver copies to other queues than the sealed route names."""

_TABLE_SIZE: Final = 4
_NAME_AND_TYPE: Final = 2
_STRING_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message to publish.

    expiration: seconds after which the broker drops it unread, None for never.
    persistent: whether it survives a restart of the broker (RPC: no).
    """

    route: Route
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = JSON
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: float | None = None
    persistent: bool = True

    def __post_init__(self) -> None:
        if any(name.lower() in COPY_HEADERS for name in self.headers):
            raise ValueError("CC and BCC are never sent")

    @classmethod
    def sealed(
        cls,
        route: Route,
        body: bytes,
        *,
        seal: str,
        carnet: str | None,
        trace: Mapping[str, str] | None = None,
        shard: int | None = None,
    ) -> Self:
        """A command or an event: `body` exactly as it was sealed, under its seal and carnet.

        shard: of the work queue that it goes to, where that has several.
        """
        headers = sealed_headers(seal, carnet, trace)
        if shard is not None:
            headers[SHARD] = str(shard)
        return cls(route=route, body=body, headers=headers)


def sealed_headers(
    seal: str, carnet: str | None, trace: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers of a message (wire contract): carnet, seal and, where there is one, trace."""
    headers = {CARNET_SEAL: seal}
    if carnet is not None:
        headers[AUTHORIZATION] = BEARER + carnet
    return headers | trace_of(trace) if trace else headers


def trace_of(headers: Mapping[str, object]) -> dict[str, str]:
    """The trace context among some headers, if there is one of its form (W3C §3.2, §3.3).

    A `tracestate` is longer than the 512 characters that everybody passes on: it is left out,
    as it is without a `traceparent`.
    """
    parent = headers.get(TRACEPARENT)
    if not isinstance(parent, str) or not _TRACEPARENT.fullmatch(parent):
        return {}
    trace, state = {TRACEPARENT: parent}, headers.get(TRACESTATE)
    if isinstance(state, str) and _TRACESTATE.fullmatch(state):
        trace[TRACESTATE] = state
    return trace


def size_of(headers: Mapping[str, str]) -> int:
    """Bytes of the headers as an AMQP field table of long strings (AMQP 0-9-1 §4.2.5.5)."""
    return _TABLE_SIZE + sum(
        _NAME_AND_TYPE + len(name.encode()) + _STRING_SIZE + len(value.encode())
        for name, value in headers.items()
    )
