"""The handlers. Each runs for a verified message, once, in the transaction of its inbox row."""

from datetime import timedelta
from typing import Final

import structlog

from auth.errors import ForbiddenError
from auth.principal import Principal
from billing.contract import InvoiceRefunded, RefundInvoice
from billing.work import Work
from messaging.errors import NotYetError
from services.contracts.orders import CancelOrder, OrderPlaced
from services.contracts.topology import ORDER_SERVICE

CANCEL_WITHIN: Final = timedelta(hours=24)
"""As long as the order service lets a command wait."""

log = structlog.get_logger(__name__)


async def bill_order(event: OrderPlaced, work: Work) -> None:
    """Write the invoice of an order that was placed, for the one whose order it is."""
    await work.invoices.add(event, work.subject, at=int(work.now))
    log.info("invoiced", order_id=event.order_id, total=str(event.total))


async def refund_invoice(command: RefundInvoice, caller: Principal, work: Work) -> None:
    """Refund the caller's invoice, and have the order cancelled in the caller's name.

    Raises:
        NotYetError: there is no invoice yet: the order's event may still be on its way.
        ForbiddenError: `not_owner`.
    """
    invoice = await work.invoices.get(command.order_id)
    if invoice is None:
        raise NotYetError("the order has no invoice yet")
    if invoice.subject != caller.subject:
        raise ForbiddenError("not_owner", "the invoice is somebody else's")
    if invoice.state == "refunded":
        return
    await work.invoices.refund(command.order_id)
    work.send_onward(
        CancelOrder(order_id=command.order_id),
        to=ORDER_SERVICE,
        wanted_for=CANCEL_WITHIN,
        aggregate=command.order_id,
    )
    work.publish(InvoiceRefunded(order_id=command.order_id), subject=caller.subject)
    log.info("refunded", order_id=command.order_id, actors=caller.actors)
