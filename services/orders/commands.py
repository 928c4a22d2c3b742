"""The commands: place an order, cancel one. A handler returns or raises, and never settles."""

from datetime import datetime
from functools import partial

from auth.errors import ForbiddenError, RefusalError
from auth.principal import Principal
from messaging.errors import NotYetError
from services.contracts.orders import (
    ORDER_ID,
    CancelOrder,
    OrderCancelled,
    OrderPlaced,
    OrderRefused,
    PlaceOrder,
)
from services.contracts.scopes import ORDERS_WRITE_ALL
from services.orders.order import NOT_CANCELLABLE, Order
from services.orders.work import OrderWork


async def place_order(command: PlaceOrder, caller: Principal, work: OrderWork) -> None:
    """Place the order once, whatever the number of deliveries; its id is the message's.

    Raises:
        RefusalError: `invalid_id`: the message's id cannot be an order's; `id_reused`: it is
            another order's already.
        RepeatedError: it was placed before, longer ago than the inbox remembers.
    """
    if ORDER_ID.match(work.message.seal.jti) is None:
        raise RefusalError("invalid_id", "the message's id is no UUID, so it cannot be an order's")
    order = Order.placed(work.message.seal.jti, command, caller, at=work.now_ms)
    work.add(order)
    if order.refusal is None:
        work.tell(order.subject, partial(_placed, order))
    else:
        detail = f"the total of {order.total} {order.currency} is above what we take unasked"
        work.tell(
            order.subject, partial(refused, order.id, command.route.type, order.refusal, detail)
        )


async def cancel_order(command: CancelOrder, caller: Principal, work: OrderWork) -> None:
    """Cancel a placed order of the caller's, or of anybody's with `orders:write-all`.

    Raises:
        NotYetError: the order is not here yet; the cancel has overtaken it and waits its turn. If
            it was refused before it was one, there is nothing to wait for.
        ForbiddenError: `not_owner`.
        RepeatedError: this very message was handled before.
    """
    order = await work.get(command.order_id)
    if order is None:
        await _cancel_unplaced(command, caller, work)
        return
    if order.subject != caller.subject and not caller.has(ORDERS_WRITE_ALL):
        raise ForbiddenError("not_owner", "the order is somebody else's")
    if order.cancel(at=work.now_ms):
        await work.save_state(order)
        work.tell(order.subject, partial(_cancelled, order, caller))
    else:
        detail = f"the order is {order.state}"
        work.tell(
            caller.subject, partial(refused, order.id, command.route.type, NOT_CANCELLABLE, detail)
        )


async def _cancel_unplaced(command: CancelOrder, caller: Principal, work: OrderWork) -> None:
    placing = await work.history.placing_refused(command.order_id)
    if placing is None:
        raise NotYetError("the order to cancel is not placed yet")
    subject, _ = placing
    if subject != caller.subject and not caller.has(ORDERS_WRITE_ALL):
        raise ForbiddenError("not_owner", "the order is somebody else's")
    work.tell(
        caller.subject,
        partial(
            refused,
            command.order_id,
            command.route.type,
            NOT_CANCELLABLE,
            "the order was refused",
        ),
    )


def refused(  # noqa: PLR0917 - the last two are given by `OrderWork.tell`
    order_id: str,
    command_type: str,
    code: str,
    detail: str,
    sequence: int,
    at: datetime,
) -> OrderRefused:
    """The event that tells a user of a refusal."""
    return OrderRefused(
        order_id=order_id,
        sequence=sequence,
        at=at,
        command=command_type,
        code=code,
        detail=detail,
    )


def _placed(order: Order, sequence: int, at: datetime) -> OrderPlaced:
    return OrderPlaced(
        order_id=order.id,
        sequence=sequence,
        at=at,
        lines=order.lines,
        currency=order.currency or "",
        total=order.total,
    )


def _cancelled(order: Order, caller: Principal, sequence: int, at: datetime) -> OrderCancelled:
    return OrderCancelled(order_id=order.id, sequence=sequence, at=at, cancelled_by=caller.subject)
