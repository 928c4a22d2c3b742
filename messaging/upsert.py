"""`INSERT … ON CONFLICT`, which each database knows in a dialect of its own."""

from typing import TYPE_CHECKING

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncSession

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def insert_into(session: AsyncSession, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An insert that may say what to do on a conflict, for the session's database."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    # Whoever runs on SQLite does without it: 60 ms, and 4 MiB.
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)
