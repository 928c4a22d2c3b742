"""What becomes of a genuine command that was refused: its user is told, and that is kept."""

from functools import partial

from auth.errors import RefusalError
from auth.message import VerifiedMessage
from messaging.contract import InvalidBodyError
from services.contracts.orders import ORDER_ID, CancelOrder, PlaceOrder
from services.orders.commands import refused
from services.orders.work import OrderWork


async def tell_refusal(refusal: RefusalError, message: VerifiedMessage, work: OrderWork) -> None:
    """Tell the user, and keep what was told: it answers whoever asks for the order later.

    The orders themselves do not change. The user is the carnet's subject, never the owner of an
    order that the body names.
    """
    caller = message.principal
    if caller is None:
        return
    if message.seal.ty == PlaceOrder.route.type:
        order_id: str | None = message.seal.jti
    else:
        order_id = _order_to_cancel(work.body)
    if order_id is None or ORDER_ID.match(order_id) is None:
        return  # it names no order that its user could know of
    event = partial(refused, order_id, message.seal.ty, refusal.code, refusal.detail)
    work.tell(caller.subject, event)


def _order_to_cancel(body: bytes) -> str | None:
    try:
        return CancelOrder.from_body(body).order_id
    except InvalidBodyError:
        return None
