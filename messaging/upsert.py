"""`INSERT … ON CONFLICT`, which each database knows in a dialect of its own."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession


def insert_into(session: AsyncSession, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that may say what to do on a conflict, for the session's database."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)
