"""What the order service does: two commands, three queries, and who may ask for each."""

from auth.policy import at_acceptance, requires
from messaging.consumer import CommandConsumer
from messaging.rpc import RpcServer
from messaging.topology import WorkQueue
from services.contracts.orders import (
    PATIENCE,
    CancelOrder,
    GetOrder,
    ListOrderEvents,
    ListOrders,
    PlaceOrder,
)
from services.contracts.scopes import ORDERS_READ, ORDERS_WRITE
from services.contracts.topology import ORDERS_COMMANDS, ORDERS_RPC
from services.orders.commands import cancel_order, place_order
from services.orders.queries import Queries


def order_commands(work: WorkQueue = ORDERS_COMMANDS) -> CommandConsumer:
    """The order consumer. Every command is verified before its handler runs."""
    orders = CommandConsumer(work)
    expiry = at_acceptance(PATIENCE)
    orders.handles(PlaceOrder, requires(ORDERS_WRITE), expiry=expiry, together=True)(place_order)
    orders.handles(CancelOrder, requires(ORDERS_WRITE), expiry=expiry, together=True)(cancel_order)
    return orders


def order_queries(queries: Queries) -> RpcServer:
    """The answers to the gateway's questions, asked with the user's own carnet."""
    service = RpcServer(ORDERS_RPC)
    service.answers(ListOrders, requires(ORDERS_READ))(queries.list_orders)
    service.answers(GetOrder, requires(ORDERS_READ))(queries.get_order)
    service.answers(ListOrderEvents, requires(ORDERS_READ))(queries.list_events)
    return service
