"""What the gateway keeps: which idempotency key stands for which request."""

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, String, Table

MIGRATIONS: Final = Path(__file__).parent / "migrations"

METADATA: Final = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)

KEYS: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("sub", String(100), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("message_id", String(36), nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
"""Times are whole seconds since the epoch (UTC); the hash is in hexadecimal."""
