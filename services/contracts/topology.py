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
"""The client that an operator's own commands seal with: no service, and no login at the broker."""

PLACE_ORDER: Final = Route(COMMANDS.name, "orders.place", "orders.place.v1")
CANCEL_ORDER: Final = Route(COMMANDS.name, "orders.cancel", "orders.cancel.v1")

ORDER_PLACED: Final = Route(EVENTS.name, "orders.placed", "orders.placed.v1")
ORDER_CANCELLED: Final = Route(EVENTS.name, "orders.cancelled", "orders.cancelled.v1")
ORDER_REFUSED: Final = Route(EVENTS.name, "orders.refused", "orders.refused.v1")

USERS_RPC: Final = "users.rpc"
ORDERS_RPC: Final = "orders.rpc"

ORDERS_COMMANDS: Final = WorkQueue("orders.commands")
"""The order consumer's work, with its retry queues and its dead letters."""

USERS_TOPOLOGY: Final = Topology(
    exchanges=(RPC, REPLY, TRUST, CLOCK),
    queues=(rpc_queue(USERS_RPC),),
    bindings=(Binding(USERS_RPC, RPC.name, USERS_RPC),),
)

GATEWAY_TOPOLOGY: Final = Topology(exchanges=(COMMANDS, EVENTS, RPC, REPLY, TRUST, CLOCK))

ORDERS_TOPOLOGY: Final = Topology(
    exchanges=(COMMANDS, EVENTS, RPC, REPLY, RETRY, DEAD, TRUST, CLOCK),
    queues=(*ORDERS_COMMANDS.queues(), rpc_queue(ORDERS_RPC)),
    bindings=(
        Binding(ORDERS_COMMANDS.name, COMMANDS.name, PLACE_ORDER.routing_key),
        Binding(ORDERS_COMMANDS.name, COMMANDS.name, CANCEL_ORDER.routing_key),
        *ORDERS_COMMANDS.bindings(),
        Binding(ORDERS_RPC, RPC.name, ORDERS_RPC),
    ),
)

TOPOLOGY: Final = USERS_TOPOLOGY + GATEWAY_TOPOLOGY + ORDERS_TOPOLOGY
"""The whole system."""
