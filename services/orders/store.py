"""Orders as they are kept, found and paged."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import Code, RefusalError
from messaging.bulk import insert_new, insert_rows
from messaging.errors import RepeatedError
from services.contracts.orders import OrderLine
from services.orders.order import Order
from services.orders.tables import LINES, ORDERS


class InvalidCursorError(ValueError):
    """The cursor is not one that we gave."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the list of orders, newest first: after the order with this time and id."""

    placed_at: int
    order_id: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.placed_at}:{self.order_id}".encode()).decode()

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what `str` wrote.

        Raises:
            InvalidCursorError: anything else.
        """
        try:
            placed_at, _, order_id = base64.urlsafe_b64decode(text).decode().partition(":")
            return cls(int(placed_at), order_id)
        except ValueError as error:
            raise InvalidCursorError("not a cursor of ours") from error


class OrderStore:
    """The orders, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, orders: Sequence[Order]) -> None:
        """Keep new orders.

        Raises:
            RepeatedError: one was kept before, with the same content of the same subject.
            RefusalError: `id_reused`: the id of one is another order's.
        """
        rows = [_row(order) for order in orders]
        added = await insert_new(self._session, ORDERS, rows, key=[ORDERS.c.id])
        new = {order_id for (order_id,) in added}
        for order in orders:
            if order.id not in new:
                await self._refuse_kept(order)
            new.remove(order.id)  # of two with one id here, the second is none
        lines = [
            {
                "order_id": order.id,
                "number": number,
                "sku": line.sku,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
            }
            for order in orders
            for number, line in enumerate(order.lines)
        ]
        await insert_rows(self._session, LINES, lines)

    async def _refuse_kept(self, order: Order) -> NoReturn:
        kept = await self.get(order.id)
        if kept is None or not kept.same_wish(order):
            raise RefusalError(Code.ID_REUSED, "its id is another order's")
        raise RepeatedError("the order was placed before")

    async def get(self, order_id: str, *, lock: bool = False) -> Order | None:
        """The order, or None. `lock`: nobody else changes it until this transaction ends."""
        statement = select(ORDERS).where(ORDERS.c.id == order_id)
        if lock:
            statement = statement.with_for_update()
        row = (await self._session.execute(statement)).one_or_none()
        return None if row is None else (await self._with_lines([row]))[0]

    async def save_state(self, order: Order) -> None:
        """Keep what `Order` changed in itself."""
        await self._session.execute(
            update(ORDERS)
            .where(ORDERS.c.id == order.id)
            .values(state=order.state, changed_at=order.changed_at, refusal=order.refusal)
        )

    async def page(
        self, subject: str | None, *, after: Cursor | None, limit: int
    ) -> tuple[list[Order], Cursor | None]:
        """Up to `limit` orders of a subject (None: of everybody), newest first, and what follows.

        The cursor is None on the last page.
        """
        statement = select(ORDERS).order_by(ORDERS.c.placed_at.desc(), ORDERS.c.id.desc())
        if subject is not None:
            statement = statement.where(ORDERS.c.subject == subject)
        if after is not None:
            statement = statement.where(
                or_(
                    ORDERS.c.placed_at < after.placed_at,
                    and_(ORDERS.c.placed_at == after.placed_at, ORDERS.c.id < after.order_id),
                )
            )
        rows = list((await self._session.execute(statement.limit(limit + 1))).all())
        orders = await self._with_lines(rows[:limit])
        more = len(rows) > limit
        return orders, Cursor(orders[-1].placed_at, orders[-1].id) if more else None

    async def count(self) -> int:
        """How many orders there are, in any state."""
        return await self._session.scalar(select(func.count()).select_from(ORDERS)) or 0

    async def _with_lines(self, rows: list[Row[tuple[object, ...]]]) -> list[Order]:
        lines: dict[str, list[OrderLine]] = {row.id: [] for row in rows}
        found = await self._session.execute(
            select(LINES)
            .where(LINES.c.order_id.in_(list(lines)))
            .order_by(LINES.c.order_id, LINES.c.number)
        )
        for line in found:
            lines[line.order_id].append(
                OrderLine(sku=line.sku, quantity=line.quantity, unit_price=line.unit_price)
            )
        return [
            Order(
                id=row.id,
                subject=row.subject,
                actors=tuple(row.actors),
                lines=tuple(lines[row.id]),
                currency=row.currency,
                total=row.total,
                state=row.state,
                placed_at=row.placed_at,
                changed_at=row.changed_at,
                refusal=row.refusal,
            )
            for row in rows
        ]


def _row(order: Order) -> dict[str, object]:
    return {
        "id": order.id,
        "subject": order.subject,
        "actors": list(order.actors),
        "currency": order.currency,
        "total": order.total,
        "state": order.state,
        "refusal": order.refusal,
        "placed_at": order.placed_at,
        "changed_at": order.changed_at,
    }
