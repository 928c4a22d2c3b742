"""Many rows in few steps of the database driver.

Python's SQLite driver lets go of the interpreter's lock for every row that it writes or reads, and
waits for it again, beside a loop that seldom lets go of it. So here a statement writes many rows
in one step, and none says which.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, Dialect, Table, and_, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from messaging.upsert import insert_into

Row = Mapping[str, object]
Key = tuple[object, ...]

_CHUNKS: Final = (64, 16, 4, 1)
"""Rows of one statement: so few numbers that the driver keeps each statement prepared."""


async def insert_rows(session: AsyncSession, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns."""
    if session.get_bind().dialect.name != "sqlite":
        if rows:
            await session.execute(insert(table), rows)
        return
    connection, start = await session.connection(), 0
    for chunk in _CHUNKS:
        while len(rows) - start >= chunk:
            statement, values_of = _statement(table, tuple(rows[0]), chunk, connection.dialect)
            taken = rows[start : start + chunk]
            await connection.exec_driver_sql(
                statement, tuple(value for row in taken for value in values_of(row))
            )
            start += chunk


async def insert_new(
    session: AsyncSession, table: Table, rows: Sequence[Row], *, key: Sequence[Column[Any]]
) -> set[Key]:
    """Insert the rows whose key is in no other row; the keys of those. Of two alike, the first.

    key: columns of text that are unique together.
    The session writes (`Database.transaction`), so nobody else does on SQLite meanwhile.
    """
    if session.get_bind().dialect.name != "sqlite":
        new = insert_into(session, table).on_conflict_do_nothing(index_elements=key).returning(*key)
        return {tuple(row) for row in await session.execute(new, rows)} if rows else set()
    by_key: dict[Key, Row] = {}
    for row in rows:
        by_key.setdefault(tuple(row[column.name] for column in key), row)
    wanted = func.json_each(json.dumps(list(by_key))).table_valued("value")
    same = (
        column == func.json_extract(wanted.c.value, f"$[{place}]")
        for place, column in enumerate(key)
    )
    held = await session.execute(select(*key).join_from(wanted, table, and_(*same)))
    for found in held:
        del by_key[tuple(found)]
    await insert_rows(session, table, list(by_key.values()))
    return set(by_key)


@lru_cache(maxsize=256)
def _statement(
    table: Table, columns: tuple[str, ...], rows: int, dialect: Dialect
) -> tuple[str, Callable[[Row], list[object]]]:
    """An insert of so many rows, and how a row's values are given to the driver."""
    preparer = dialect.identifier_preparer
    names = ", ".join(preparer.format_column(table.c[name]) for name in columns)
    group = f"({', '.join('?' * len(columns))})"
    processors = [
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in columns
    ]

    def values_of(row: Row) -> list[object]:
        return [
            row[name] if process is None else process(row[name]) for name, process in processors
        ]

    into = f"INSERT INTO {preparer.format_table(table)} ({names}) VALUES "  # noqa: S608 - our own
    return into + ", ".join([group] * rows), values_of
