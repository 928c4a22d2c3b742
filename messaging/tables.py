"""The tables that messaging needs in a service's own database, owned by its migrations."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import MetaData, Table

from messaging.inbox import inbox_table
from messaging.outbox import outbox_table
from messaging.retries import retries_table


@dataclass(frozen=True, slots=True)
class MessagingTables:
    """Inbox, outbox and retries of one service."""

    inbox: Table
    outbox: Table
    retries: Table

    @classmethod
    def of(cls, metadata: MetaData) -> Self:
        """Add all three to a service's metadata."""
        return cls(inbox_table(metadata), outbox_table(metadata), retries_table(metadata))
