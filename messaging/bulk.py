"""Many rows in few steps of the database driver.

Python's SQLite driver lets go of the interpreter's lock for every row that it writes or reads, and
waits for it again, beside a loop that seldom lets go of it. So there a statement writes many rows
in one step, and none says which. PostgreSQL is given a column of all rows as one value.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, Dialect, String, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

Row = Mapping[str, object]
Key = tuple[object, ...]

_CHUNKS: Final = (64, 16, 4, 1)
"""Rows of one statement on SQLite: so few numbers that the driver keeps each one prepared."""


async def insert_rows(session: AsyncSession, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns."""
    if not rows:
        return
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        await _insert_in_chunks(connection, table, rows)
    else:
        await connection.exec_driver_sql(*_columnwise(connection, table, rows))


async def insert_new(
    session: AsyncSession, table: Table, rows: Sequence[Row], *, key: Sequence[Column[Any]]
) -> set[Key]:
    """Insert the rows whose key is in no other row; the keys of those. Of two alike, the first.

    key: columns of text that are unique together.
    The session writes (`Database.transaction`), so nobody else does on SQLite meanwhile.
    """
    if not rows:
        return set()
    connection = await session.connection()
    if connection.dialect.name != "sqlite":
        statement, values = _columnwise(connection, table, rows)
        names = ", ".join(connection.dialect.identifier_preparer.format_column(c) for c in key)
        new = f"{statement} ON CONFLICT ({names}) DO NOTHING RETURNING {names}"
        return {tuple(row) for row in await connection.exec_driver_sql(new, values)}
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
    if by_key:
        await _insert_in_chunks(connection, table, list(by_key.values()))
    return set(by_key)


async def _insert_in_chunks(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    columns, start = tuple(rows[0]), 0
    values_of = _values(table, columns, connection.dialect)
    into = _insert_into(table, columns, connection.dialect)
    group = f"({', '.join('?' * len(columns))})"
    for chunk in _CHUNKS:
        while len(rows) - start >= chunk:
            statement = f"{into} VALUES {', '.join([group] * chunk)}"
            taken = rows[start : start + chunk]
            await connection.exec_driver_sql(
                statement, tuple(value for row in taken for value in values_of(row))
            )
            start += chunk


def _columnwise(
    connection: AsyncConnection, table: Table, rows: Sequence[Row]
) -> tuple[str, tuple[list[object], ...]]:
    """One statement for any number of rows, and its values: a list for each column."""
    columns = tuple(rows[0])
    values_of = _values(table, columns, connection.dialect)
    values = tuple(map(list, zip(*map(values_of, rows), strict=True)))
    return _insert_columns(table, columns, connection.dialect), values


@lru_cache(maxsize=64)
def _insert_columns(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    arrays = ", ".join(
        f"CAST(${place} AS {_element(table.c[name], dialect)}[])"
        for place, name in enumerate(columns, start=1)
    )
    into = _insert_into(table, columns, dialect)
    return f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608 - names of our own


def _element(column: Column[Any], dialect: Dialect) -> str:
    kind = column.type.dialect_impl(dialect)
    # A cast to a bounded text would cut what is too long; the column itself refuses it.
    if isinstance(kind, String) or isinstance(getattr(kind, "impl", None), String):
        return "TEXT"
    return dialect.type_compiler_instance.process(kind)


@lru_cache(maxsize=64)
def _insert_into(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    preparer = dialect.identifier_preparer
    names = ", ".join(preparer.format_column(table.c[name]) for name in columns)
    return f"INSERT INTO {preparer.format_table(table)} ({names})"


@lru_cache(maxsize=64)
def _values(
    table: Table, columns: tuple[str, ...], dialect: Dialect
) -> Callable[[Row], list[object]]:
    """How a row's values are given to the driver."""
    convert = [
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in columns
    ]

    def values_of(row: Row) -> list[object]:
        return [row[name] if to is None else to(row[name]) for name, to in convert]

    return values_of
