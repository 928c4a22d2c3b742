"""A copy of a delivery for another queue: what it is kept under, and nothing else of it.

Never `x-*` (RabbitMQ 3.10 takes a copied `x-death` for a cycle and drops the message), `CC`,
`BCC`, nor `user_id`.
"""

from collections.abc import Mapping
from typing import Final

from auth.message import AUTHORIZATION, CARNET_SEAL, Route
from messaging.delivery import Delivery
from messaging.envelope import MAX_HEADERS, TRACE_HEADERS, Envelope, size_of
from messaging.topology import Exchange

OMITTED: Final = "carnet-omitted"
"""Names of headers that were left out: no strings, or too long."""

MAX_OMITTED: Final = 200
"""Bytes of it."""

_COPIED: Final = (AUTHORIZATION, CARNET_SEAL, *TRACE_HEADERS)
"""In order of importance, should there be no room for all."""


def copy_of(
    delivery: Delivery, exchange: Exchange, routing_key: str, notes: Mapping[str, str]
) -> Envelope:
    """The delivery as it is published again, with `notes` about what became of it."""
    return Envelope(
        route=Route(exchange.name, routing_key, delivery.type or ""),
        body=delivery.body,
        headers=_copied_headers(delivery.headers, notes),
        content_type=delivery.content_type,
    )


def _copied_headers(headers: Mapping[str, object], notes: Mapping[str, str]) -> dict[str, str]:
    kept = dict(notes)
    omitted = []
    room = MAX_HEADERS - size_of({OMITTED: "x" * MAX_OMITTED})
    for name in sorted(filter(_is_copied, headers), key=_importance):
        value = headers[name]
        if name in notes:
            continue
        if isinstance(value, str) and size_of({**kept, name: value}) <= room:
            kept[name] = value
        else:
            omitted.append(name)
    if omitted:
        kept[OMITTED] = ", ".join(omitted).encode()[:MAX_OMITTED].decode(errors="ignore")
    return kept


def _is_copied(name: str) -> bool:
    return name.lower() in _COPIED or name.lower().startswith("carnet-")


def _importance(name: str) -> tuple[int, str]:
    lower = name.lower()
    return (_COPIED.index(lower) if lower in _COPIED else len(_COPIED), name)
