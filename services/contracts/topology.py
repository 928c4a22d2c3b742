"""Where messages travel: every exchange, queue and binding of the system, as data.

Each service declares its own part at start (`messaging.topology.declare`); declaring again
changes nothing.
"""

from typing import Final

from auth.verifier import Route
from messaging.topology import (
    CLOCK,
    COMMANDS,
    DEAD,
    EVENTS,
    REPLY,
    RETRY,
    RPC,
    TRUST,
    Binding,
    Topology,
    WorkQueue,
    rpc_queue,
)

USER_SERVICE: Final = "user-service"
GATEWAY: Final = "api-gateway"
ORDER_SERVICE: Final = "order-service"
OPERATOR_DESK: Final = "operator-desk"
"""The client that operators' commands and the console seal with, and the console's login at the
broker. Commands log in as whoever they are told to."""

PLACE_ORDER: Final = Route(COMMANDS.name, "orders.place", "orders.place.v1")
CANCEL_ORDER: Final = Route(COMMANDS.name, "orders.cancel", "orders.cancel.v1")

ORDER_PLACED: Final = Route(EVENTS.name, "orders.placed", "orders.placed.v1")
ORDER_CANCELLED: Final = Route(EVENTS.name, "orders.cancelled", "orders.cancelled.v1")
ORDER_REFUSED: Final = Route(EVENTS.name, "orders.refused", "orders.refused.v1")
ORDER_JOURNEY: Final = Route(EVENTS.name, "orders.journey", "orders.journey.v1")

USERS_RPC: Final = "users.rpc"
ORDERS_RPC: Final = "orders.rpc"

ORDERS_COMMANDS: Final = WorkQueue("orders.commands")
"""The order consumer's work where it has one shard. However many it has, its name, its retry queues
and its dead letters are these."""

USERS_TOPOLOGY: Final = Topology(
    exchanges=(RPC, REPLY, TRUST, CLOCK),
    queues=(rpc_queue(USERS_RPC),),
    bindings=(Binding(USERS_RPC, RPC.name, USERS_RPC),),
)

GATEWAY_TOPOLOGY: Final = Topology(exchanges=(COMMANDS, EVENTS, RPC, REPLY, TRUST, CLOCK))

CONSOLE_TOPOLOGY: Final = Topology(exchanges=(RPC, REPLY, RETRY, TRUST, CLOCK))


def orders_commands(shards: int = 1) -> WorkQueue:
    """The order consumer's work, with its retry queues and its dead letters."""
    return WorkQueue(ORDERS_COMMANDS.name, shards)


def orders_topology(shards: int = 1) -> Topology:
    """What the order service works with, where its work has so many shards."""
    work = orders_commands(shards)
    keys = (PLACE_ORDER.routing_key, CANCEL_ORDER.routing_key)
    return Topology(
        exchanges=(COMMANDS, EVENTS, RPC, REPLY, RETRY, DEAD, TRUST, CLOCK, *work.exchanges()),
        queues=(*work.queues(), rpc_queue(ORDERS_RPC)),
        bindings=(
            *work.serving(COMMANDS, *keys),
            *work.bindings(),
            Binding(ORDERS_RPC, RPC.name, ORDERS_RPC),
        ),
        gone=work.gone(COMMANDS, *keys),
    )


def whole_topology(shards: int = 1) -> Topology:
    """The whole system's."""
    return USERS_TOPOLOGY + GATEWAY_TOPOLOGY + orders_topology(shards)


ORDERS_TOPOLOGY: Final = orders_topology()
TOPOLOGY: Final = whole_topology()
"""Of a system whose queues have one shard each, as it is by default."""
