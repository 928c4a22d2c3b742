"""Many rows in few steps of the database driver.

Python's SQLite driver works in a thread, which lets go of the interpreter's lock for every row that
it writes or reads, and waits for it again, beside a loop that seldom lets go of it. So there a
statement writes many rows in one step, none says which, and the driver is called directly.
PostgreSQL is given a column of all rows as one value.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, cast

from sqlalchemy import Column, Dialect, String, Table, and_, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

Row = Mapping[str, object]
Key = tuple[object, ...]

_SIZES: Final = (1, 4, 16, 64, 256)
"""Rows that a statement has room for on SQLite: so few sizes that the driver keeps all prepared."""


async def insert_rows(session: AsyncSession, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns."""
    if not rows:
        return
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        for few in _fitting(rows):
            await _insert_few(connection, table, few)
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
    for few in _fitting(list(by_key)):
        try:
            await _insert_few(connection, table, [by_key[one] for one in few])
        except IntegrityError:  # none of them is in
            for held in await _held(session, table, few, key):
                del by_key[held]
            left = [by_key[one] for one in few if one in by_key]
            if left:
                await _insert_few(connection, table, left)
    return set(by_key)


def _fitting(rows: Sequence[Any]) -> list[Sequence[Any]]:
    """As many at once as the largest statement has room for."""
    return [rows[start : start + _SIZES[-1]] for start in range(0, len(rows), _SIZES[-1])]


async def _held(
    session: AsyncSession, table: Table, keys: Sequence[Key], key: Sequence[Column[Any]]
) -> set[Key]:
    """Which of these keys the table has."""
    wanted = func.json_each(json.dumps(keys)).table_valued("value")
    same = (
        column == func.json_extract(wanted.c.value, f"$[{place}]")
        for place, column in enumerate(key)
    )
    held = await session.execute(select(*key).join_from(wanted, table, and_(*same)))
    return {tuple(row) for row in held}


async def _insert_few(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """One statement on SQLite, for up to as many rows as the largest has room for."""
    names = tuple(rows[0])
    columns = _columns(table, names, rows, connection.dialect)
    size = next(size for size in _SIZES if size >= len(rows))
    empty = (None,) * (len(names) * (size - len(rows)))
    values = (*chain.from_iterable(zip(*columns, strict=True)), *empty, len(rows))
    statement = _insert_some(table, names, size, connection.dialect)
    driver = cast("Any", connection.sync_connection).connection.driver_connection
    try:
        await driver.execute_fetchall(statement, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(
            statement, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


@lru_cache(maxsize=64)
def _insert_some(table: Table, names: tuple[str, ...], size: int, dialect: Dialect) -> str:
    """A statement that inserts the first of its rows, so many as its last value says."""
    row = f"({', '.join('?' * len(names))})"
    rows = ", ".join([row] * size)
    into = _insert_into(table, names, dialect)
    return f"{into} SELECT * FROM (VALUES {rows}) LIMIT ?"  # noqa: S608 - names of our own


def _columnwise(
    connection: AsyncConnection, table: Table, rows: Sequence[Row]
) -> tuple[str, tuple[list[object], ...]]:
    """One statement for any number of rows, and its values: a list for each column."""
    names = tuple(rows[0])
    columns = _columns(table, names, rows, connection.dialect)
    return _insert_columns(table, names, connection.dialect), tuple(columns)


@lru_cache(maxsize=64)
def _insert_columns(table: Table, names: tuple[str, ...], dialect: Dialect) -> str:
    arrays = ", ".join(
        f"CAST(${place} AS {_element(table.c[name], dialect)}[])"
        for place, name in enumerate(names, start=1)
    )
    into = _insert_into(table, names, dialect)
    return f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608 - names of our own


def _element(column: Column[Any], dialect: Dialect) -> str:
    kind = column.type.dialect_impl(dialect)
    # A cast to a bounded text would cut what is too long; the column itself refuses it.
    if isinstance(kind, String) or isinstance(getattr(kind, "impl", None), String):
        return "TEXT"
    return dialect.type_compiler_instance.process(kind)


def _insert_into(table: Table, names: tuple[str, ...], dialect: Dialect) -> str:
    preparer = dialect.identifier_preparer
    columns = ", ".join(preparer.format_column(table.c[name]) for name in names)
    return f"INSERT INTO {preparer.format_table(table)} ({columns})"


def _columns(
    table: Table, names: tuple[str, ...], rows: Sequence[Row], dialect: Dialect
) -> list[list[object]]:
    """The values of each column, as they are given to the driver."""
    return [
        [row[name] for row in rows] if to is None else [to(row[name]) for row in rows]
        for name, to in _converters(table, names, dialect)
    ]


@lru_cache(maxsize=64)
def _converters(
    table: Table, names: tuple[str, ...], dialect: Dialect
) -> list[tuple[str, Callable[[object], object] | None]]:
    return [
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names
    ]
