"""What the service keeps. A change of a table here needs a migration beside it."""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, MetaData, Row, String, Table, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from messaging.bulk import insert_new
from messaging.errors import RepeatedError
from messaging.tables import MessagingTables
from services.contracts.orders import OrderPlaced

METADATA: Final = MetaData()

MESSAGING: Final = MessagingTables.of(METADATA)
"""Inbox, outbox and retries, in the same database so that one transaction holds them all."""

INVOICES: Final = Table(
    "invoices",
    METADATA,
    Column("order_id", String(64), primary_key=True),
    Column("subject", String(100), nullable=False, index=True),
    Column("currency", String(3), nullable=False),
    Column("total", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
)


class Invoices:
    """The invoices, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, placed: OrderPlaced, subject: str, *, at: int) -> None:
        """Keep the invoice of an order. `at`: seconds since the epoch.

        Raises:
            RepeatedError: there is one already, which the inbox does not remember any more.
        """
        row = {
            "order_id": placed.order_id,
            "subject": subject,
            "currency": placed.currency,
            "total": str(placed.total),
            "state": "open",
            "at": at,
        }
        if not await insert_new(self._session, INVOICES, [row], key=[INVOICES.c.order_id]):
            raise RepeatedError("the order has its invoice")

    async def get(self, order_id: str) -> Row[Any] | None:
        """The invoice of an order, or None; nobody else changes it meanwhile."""
        found = select(INVOICES).where(INVOICES.c.order_id == order_id).with_for_update()
        return (await self._session.execute(found)).one_or_none()

    async def refund(self, order_id: str) -> None:
        """Note that the money goes back."""
        invoice = update(INVOICES).where(INVOICES.c.order_id == order_id)
        await self._session.execute(invoice.values(state="refunded"))
