"""The queries: a user's orders and events, read with the user's own carnet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from auth.principal import Principal
from messaging.database import Database
from messaging.rpc import Caller, Refused
from services.contracts.orders import (
    EventsPage,
    GetOrder,
    ListOrderEvents,
    ListOrders,
    OrderPage,
    OrderRefused,
    OrderView,
)
from services.contracts.scopes import ORDERS_READ_ALL
from services.orders.history import History
from services.orders.order import Order
from services.orders.store import Cursor, InvalidCursorError, OrderStore


@dataclass(frozen=True, slots=True)
class Queries:
    """What may be read, by whom."""

    database: Database

    async def list_orders(self, request: ListOrders, caller: Caller) -> OrderPage:
        """The caller's orders, newest first.

        Refused: `insufficient_scope` for everybody's without `orders:read-all`,
        `invalid_cursor`.
        """
        who = caller.principal_or_refuse()
        if request.everyone and not who.has(ORDERS_READ_ALL):
            raise Refused("insufficient_scope", f"everybody's orders need {ORDERS_READ_ALL}")
        try:
            after = None if request.cursor is None else Cursor.parse(request.cursor)
        except InvalidCursorError as error:
            raise Refused("invalid_cursor", str(error)) from error
        async with self.database.session() as session:
            orders, following = await OrderStore(session).page(
                None if request.everyone else who.subject, after=after, limit=request.limit
            )
        return OrderPage(orders=_views(orders), next=None if following is None else str(following))

    async def get_order(self, request: GetOrder, caller: Caller) -> OrderView:
        """One order. Refused: `not_found`, also where it is somebody else's."""
        who = caller.principal_or_refuse()
        async with self.database.session() as session:
            order = await OrderStore(session).get(request.order_id)
            refusal = None if order else await History(session).placing_refused(request.order_id)
        if order is not None and _may_see(who, order.subject):
            return _views([order])[0]
        if refusal is not None and _may_see(who, refusal[0]):
            return _refused_view(*refusal)
        raise Refused("not_found", "there is no such order of yours (yet)")

    async def list_events(self, request: ListOrderEvents, caller: Caller) -> EventsPage:
        """The caller's own events after a number."""
        who = caller.principal_or_refuse()
        async with self.database.session() as session:
            history = History(session)
            return EventsPage(
                events=tuple(await history.after(who.subject, request.after, limit=request.limit)),
                latest=await history.latest(who.subject),
            )


def _may_see(who: Principal, owner: str) -> bool:
    return owner == who.subject or who.has(ORDERS_READ_ALL)


def _refused_view(subject: str, told: OrderRefused) -> OrderView:
    """What there is to say of an order that was refused before anybody read it."""
    return OrderView(
        id=told.order_id,
        state="refused",
        lines=(),
        currency=None,
        total=Decimal(0),
        placed_by=subject,
        placed_through=(),
        placed_at=told.at,
        changed_at=told.at,
        refusal=told.code,
    )


def _views(orders: Sequence[Order]) -> tuple[OrderView, ...]:
    return tuple(
        OrderView(
            id=order.id,
            state=order.state,
            lines=order.lines,
            currency=order.currency,
            total=order.total,
            placed_by=order.subject,
            placed_through=order.actors,
            placed_at=datetime.fromtimestamp(order.placed_at / 1000, UTC),
            changed_at=datetime.fromtimestamp(order.changed_at / 1000, UTC),
            refusal=order.refusal,
        )
        for order in orders
    )
