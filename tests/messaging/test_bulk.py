"""Many rows at once, on each kind of database: all of them, once, and whatever they hold."""

from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest
import pytest_asyncio
from sqlalchemy import JSON, Column, Integer, LargeBinary, MetaData, String, Table, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from messaging.bulk import insert_new, insert_rows
from messaging.database import Database, open_database
from messaging.errors import DatabaseUnavailableError

METADATA = MetaData()
PARCELS = Table(
    "parcels",
    METADATA,
    Column("sender", String(20), primary_key=True),
    Column("order", String(40), primary_key=True),  # a word of SQL's own
    Column("body", LargeBinary, nullable=False),
    Column("notes", JSON, nullable=False),
    Column("weight", Integer, nullable=False, server_default="7"),
)
KEY = (PARCELS.c.sender, PARCELS.c.order)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield database
    await database.close()


def parcel(number: int, body: bytes = b"\x00\xff", sender: str = "ada") -> dict[str, object]:
    notes = {"number": number, "list": [1, None, "ä"]}
    return {"sender": sender, "order": f"no. {number} '\"%s", "body": body, "notes": notes}


def key(row: dict[str, object]) -> tuple[object, ...]:
    return row["sender"], row["order"]


async def kept(database: Database) -> list[dict[str, object]]:
    async with database.session() as session:
        rows = await session.execute(select(PARCELS).order_by(*KEY))
        return [dict(row._mapping) for row in rows]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 63, 64, 65, 255, 256, 257, 600])
async def test_all_rows_are_inserted_as_they_are(database: Database, count: int) -> None:
    rows = [parcel(number) for number in range(count)]

    async with database.transaction() as session:
        await insert_rows(session, PARCELS, rows)

    inserted = [{**row, "weight": 7} for row in rows]
    assert sorted(await kept(database), key=key) == sorted(inserted, key=key)


async def test_only_what_is_new_is_inserted_and_said_to_be(database: Database) -> None:
    async with database.transaction() as session:
        await insert_rows(session, PARCELS, [parcel(n, b"first") for n in range(50, 90)])
    rows = [parcel(n, b"second") for n in range(200)]
    others = [parcel(n, b"third", sender="bob") for n in range(50, 60)]

    async with database.transaction() as session:
        new = await insert_new(session, PARCELS, rows + others, key=KEY)

    assert new == {key(r) for r in [*rows[:50], *rows[90:], *others]}
    bodies = [row["body"] for row in await kept(database)]
    assert [bodies.count(body) for body in (b"first", b"second", b"third")] == [40, 160, 10]


async def test_of_two_alike_the_first_is_inserted(database: Database) -> None:
    async with database.transaction() as session:
        new = await insert_new(session, PARCELS, [parcel(1, b"a"), parcel(1, b"b")], key=KEY)

    assert new == {key(parcel(1))}
    assert [row["body"] for row in await kept(database)] == [b"a"]


async def test_nothing_new_is_no_error(database: Database) -> None:
    async with database.transaction() as session:
        assert await insert_new(session, PARCELS, [], key=KEY) == set()
        await session.execute(insert(PARCELS), [parcel(1)])
        assert await insert_new(session, PARCELS, [parcel(1)], key=KEY) == set()


async def test_text_that_is_too_long_is_never_cut(database: Database) -> None:
    """PostgreSQL refuses it; SQLite bounds no text."""
    long = parcel(1, sender="x" * 21)
    bounded = database.url.get_backend_name() == "postgresql"

    with pytest.raises(DBAPIError, match="too long") if bounded else nullcontext():
        async with database.transaction() as session:
            await insert_rows(session, PARCELS, [long])

    assert await kept(database) == ([] if bounded else [{**long, "weight": 7}])


async def test_a_row_that_is_there_fails_all_where_all_are_to_be_new(database: Database) -> None:
    async with database.transaction() as session:
        await insert_rows(session, PARCELS, [parcel(70)])

    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            await insert_rows(session, PARCELS, [parcel(n) for n in range(100)])

    assert len(await kept(database)) == 1


async def test_a_fault_of_the_database_is_no_fault_of_the_rows(database: Database) -> None:
    """Also where SQLAlchemy, which would have said so, is passed by."""
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.drop_all)

    with pytest.raises(DatabaseUnavailableError, match="no such table"):
        async with database.transaction() as session:
            await insert_rows(session, PARCELS, [parcel(1)])
