"""What each service's broker login may do; everything else is refused by the broker.

The rights bound what a stolen login can disturb. Trust never rests on them: whoever writes
to the broker still needs a carnet and a seal.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from messaging.topology import (
    CLOCK,
    COMMANDS,
    DEAD,
    EVENTS,
    REPLY,
    RETRY,
    RPC,
    TRUST,
    Exchange,
    WorkQueue,
)
from services.contracts.topology import (
    CANCEL_ORDER,
    GATEWAY,
    OPERATOR_DESK,
    ORDER_CANCELLED,
    ORDER_JOURNEY,
    ORDER_PLACED,
    ORDER_REFUSED,
    ORDER_SERVICE,
    ORDERS_COMMANDS,
    ORDERS_RPC,
    PLACE_ORDER,
    USER_SERVICE,
    USERS_RPC,
)

TOPIC_EXCHANGES: Final = (COMMANDS, EVENTS, REPLY)

NOTHING: Final = "(?!)"
"""Matches no text at all. An empty pattern would match every routing key."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Names that are allowed: some exactly, some by their beginning."""

    exactly: tuple[str, ...] = ()
    beginning: tuple[str, ...] = ()

    def __add__(self, other: "Pattern") -> "Pattern":
        """What either allows."""
        return Pattern(self.exactly + other.exactly, self.beginning + other.beginning)

    def wildcards(self) -> tuple[str, ...]:
        """As RabbitMQ's OAuth 2 plugin wants them: `*` stands for any text, `%` is an escape."""
        return (
            *(quote(name, safe="") for name in self.exactly),
            *(f"{quote(prefix, safe='')}*" for prefix in self.beginning),
        )

    def regex(self) -> str:
        """As RabbitMQ's own logins want it, which search: without anchors a part would do."""
        wanted = [
            *(f"{re.escape(name)}$" for name in self.exactly),
            *(re.escape(prefix) for prefix in self.beginning),
        ]
        return f"^({'|'.join(wanted)})" if wanted else NOTHING


@dataclass(frozen=True, slots=True)
class Rights:
    """What one client does at the broker.

    For a topic exchange the pattern says with which routing keys; for the others it is empty,
    since the broker compares no keys there.

    consumes_shards: how the names of queues begin that are consumed too.
    counts: of these queues it asks how much lies in them. From 4.3 on the broker tells that only to
        who has some right to a queue; the least is that to bind it, and a login can bind it to no
        more than what it subscribes to.
    """

    consumes: tuple[str, ...] = ()
    consumes_shards: tuple[str, ...] = ()
    counts: Pattern = field(default_factory=Pattern)
    publishes: Mapping[Exchange, Pattern] = field(default_factory=dict)
    subscribes: Mapping[Exchange, Pattern] = field(default_factory=dict)


def own_queues(client: str) -> str:
    """How the names of the queues of one client's processes begin."""
    return f"carnet.{client}."


def _replies_to(clients: Iterable[str]) -> Pattern:
    return Pattern(beginning=tuple(own_queues(client) for client in clients))


ANY_KEY: Final = Pattern()

ORDER_EVENTS: Final = Pattern(
    (
        ORDER_PLACED.routing_key,
        ORDER_CANCELLED.routing_key,
        ORDER_REFUSED.routing_key,
        ORDER_JOURNEY.routing_key,
    )
)

SHARDS: Final = tuple(ORDERS_COMMANDS.shard(digit) for digit in range(10))
"""However many there are, so that their number can change and the rights need not; and neither
retries nor dead letters."""


def counted_of(work: WorkQueue) -> Pattern:
    """The queues of some work in one shard that can be counted and not read: no dead letters."""
    return Pattern((work.name,), (f"{work.name}.retry.",))


RIGHTS: Final[Mapping[str, Rights]] = {
    USER_SERVICE: Rights(
        consumes=(USERS_RPC,),
        publishes={
            REPLY: _replies_to([GATEWAY, ORDER_SERVICE, OPERATOR_DESK]),
            TRUST: ANY_KEY,
            CLOCK: ANY_KEY,
        },
        subscribes={TRUST: ANY_KEY, CLOCK: ANY_KEY},
    ),
    GATEWAY: Rights(
        publishes={
            COMMANDS: Pattern((PLACE_ORDER.routing_key, CANCEL_ORDER.routing_key)),
            RPC: ANY_KEY,
            CLOCK: ANY_KEY,
        },
        subscribes={
            EVENTS: ORDER_EVENTS,
            REPLY: _replies_to([GATEWAY]),
            TRUST: ANY_KEY,
            CLOCK: ANY_KEY,
        },
    ),
    ORDER_SERVICE: Rights(
        consumes=(ORDERS_COMMANDS.name, ORDERS_RPC),
        consumes_shards=SHARDS,
        publishes={
            EVENTS: ORDER_EVENTS,
            REPLY: _replies_to([GATEWAY]),
            RPC: ANY_KEY,
            RETRY: ANY_KEY,
            DEAD: ANY_KEY,
            CLOCK: ANY_KEY,
        },
        subscribes={REPLY: _replies_to([ORDER_SERVICE]), TRUST: ANY_KEY, CLOCK: ANY_KEY},
    ),
    OPERATOR_DESK: Rights(
        consumes=(ORDERS_COMMANDS.dead,),
        counts=counted_of(ORDERS_COMMANDS) + Pattern((USERS_RPC, ORDERS_RPC), SHARDS),
        # A release goes where retries go; a command, nowhere.
        publishes={RPC: ANY_KEY, RETRY: ANY_KEY, CLOCK: ANY_KEY},
        subscribes={REPLY: _replies_to([OPERATOR_DESK]), TRUST: ANY_KEY, CLOCK: ANY_KEY},
    ),
}
"""By client id, which is also the login's name. Nobody may touch the default exchange."""
