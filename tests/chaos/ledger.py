"""What was asked for, as the clients know it: each request, and whether it was ever accepted."""

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class Wish:
    """One order that a customer wants, and whether they want it cancelled.

    sku: of this order alone, so that it is known again whatever its id.
    accepted: its id, once a 202 has said it.
    told_no: the code of an answer that ended it over HTTP; nothing may have come of it.
    """

    number: int
    subject: str
    key: str
    sku: str
    unit_price: str
    accepted: str | None = None
    told_no: str | None = None
    cancel: "Cancel | None" = None


@dataclass
class Cancel:
    """A cancel of an order, by its owner or by somebody who may not."""

    subject: str
    key: str
    own: bool
    accepted: bool = False
    told_no: str | None = None


@dataclass(frozen=True)
class Forged:
    """A message that somebody wrote past the gateway.

    expected: the reason that it is refused for, while all clocks are right.
    confirmed: whether the broker is known to have taken it.
    """

    title: str
    expected: str
    seal: str
    authorization: str
    body: str
    confirmed: bool

    @property
    def triple(self) -> tuple[str, str, str]:
        """What finds its dead letter."""
        return self.seal, self.authorization, self.body


@dataclass
class Ledger:
    """Everything that the clients know at the end."""

    wishes: list[Wish] = field(default_factory=list)
    forged: list[Forged] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    """Every HTTP answer of an order or a cancel, by status and code; `none` where none came."""
    streams: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    """By subject, what the live stream told: sequence, type, order id, in the order heard."""
    duplicated: int = 0

    @property
    def accepted(self) -> int:
        """Answers of 202, repeats of the same request counted once."""
        orders = sum(wish.accepted is not None for wish in self.wishes)
        cancels = sum(wish.cancel is not None and wish.cancel.accepted for wish in self.wishes)
        return orders + cancels


def to_json(thing: Any) -> str:
    """A ledger, or the evidence, for whoever wants to look."""
    return json.dumps(thing, indent=1, default=_members)


def _members(thing: Any) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in fields(thing)}
