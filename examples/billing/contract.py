"""The messages of the service: what it takes, and what it tells."""

from typing import ClassVar

from auth.message import Route
from messaging.contract import Command, Event
from messaging.topology import EVENTS
from services.contracts.orders import OrderId
from services.declared import route_of


class RefundInvoice(Command):
    """Give the caller's money back, and cancel the order that it was for."""

    route: ClassVar[Route] = route_of("billing.refund.v1")

    order_id: OrderId

    def concerns(self, message_id: str) -> str:
        """Messages about one order are handled one after the other."""
        del message_id
        return self.order_id


class InvoiceRefunded(Event):
    """An invoice was refunded."""

    route: ClassVar[Route] = route_of("billing.refunded.v1", EVENTS)

    order_id: OrderId
