"""Which brokers Carnet runs on, by what the broker says of itself when we connect."""

import re
from collections.abc import Mapping
from typing import Any, Final

from messaging.findings import Finding, fail, ok, warn

OLDEST: Final = (3, 10)
"""Quorum queues with a message TTL and at-least-once dead-lettering."""

NEWEST_TESTED: Final = (4, 3)
"""The newest one that `tests/conformance` runs on."""

CHECK: Final = "broker version"


def judge_version(properties: Mapping[str, Any]) -> Finding:
    """Whether we run on the broker with these server properties (AMQP 0-9-1, connection.start)."""
    product, text = str(properties.get("product")), str(properties.get("version"))
    found = re.match(r"(\d+)\.(\d+)", text)
    if product != "RabbitMQ" or found is None:
        return fail(
            CHECK,
            f"the broker is {product} {text}; RabbitMQ {_text(OLDEST)} to {_text(NEWEST_TESTED)} "
            "is needed",
        )
    version = tuple(map(int, found.groups()))
    if version < OLDEST:
        return fail(CHECK, f"RabbitMQ {text} is too old; upgrade it to {_text(OLDEST)} or newer")
    if version > NEWEST_TESTED:
        return warn(
            CHECK,
            f"RabbitMQ {text} is newer than {_text(NEWEST_TESTED)}, the newest that this version "
            "of Carnet was tested with",
        )
    return ok(CHECK, f"RabbitMQ {text}")


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
