"""What the order service keeps, as tables. Times are whole milliseconds since the epoch."""

from decimal import Decimal
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from messaging.tables import MessagingTables


class Money(TypeDecorator[Decimal]):
    """A decimal amount, exact on every database: SQLite has only floats, so it is text."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        del dialect
        return None if value is None else Decimal(value)


METADATA: Final = MetaData()

MESSAGING: Final = MessagingTables.of(METADATA)
"""Inbox, outbox and retries, in the same database so that one transaction holds them all."""

ORDERS: Final = Table(
    "orders",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("subject", String(100), nullable=False),
    Column("actors", JSON, nullable=False),
    Column("currency", String(3)),
    Column("total", Money, nullable=False),
    Column("state", String(16), nullable=False),
    Column("refusal", String(64)),
    Column("placed_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Index("ix_orders_subject_placed_at", "subject", "placed_at", "id"),
    Index("ix_orders_placed_at", "placed_at", "id"),
)
"""The primary key keeps an order's id unique for ever, also when the inbox is pruned."""

LINES: Final = Table(
    "order_lines",
    METADATA,
    Column("order_id", String(64), ForeignKey("orders.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sku", String(64), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", Money, nullable=False),
)

EVENTS: Final = Table(
    "order_events",
    METADATA,
    Column("subject", String(100), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("order_id", String(64), nullable=False, index=True),
    Column("type", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("cause", String(130)),
    Index("uq_order_events_cause", "cause", "type", unique=True),
)
"""Each user's order events, numbered without a gap: what a client missed is read from here.

`cause` is the command that an event tells of, as publisher and message id; this keeps it unique for
ever, also when the inbox is pruned. Only one that was told refused may be told of again, as done,
if an operator releases it. (Rows from before this column have none.)"""

SEQUENCES: Final = Table(
    "event_sequences",
    METADATA,
    Column("subject", String(100), primary_key=True),
    Column("latest", BigInteger, nullable=False),
)
"""The number of each user's latest event. Its row is locked until commit, so numbers become
visible in their order."""
