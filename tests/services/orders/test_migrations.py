"""What the order service kept before a migration is kept by it."""

import shutil
from pathlib import Path

from sqlalchemy import text

from messaging.database import open_database
from messaging.migrations import upgrade
from services.orders.__main__ import MIGRATIONS


def _up_to(revision: str, folder: Path) -> Path:
    """The migrations as they were when `revision` was the last."""
    shutil.copytree(MIGRATIONS, folder)
    for migration in (folder / "versions").glob("0*.py"):
        if migration.name[: len(revision)] > revision:
            migration.unlink()
    return folder


async def test_an_event_that_waited_in_the_outbox_waits_there_in_its_user_s_line(
    database_url: str, tmp_path: Path
) -> None:
    """So does one that a replica of the version before writes afterwards, in a line of its own."""
    old = (
        "INSERT INTO outbox (message_id, exchange, routing_key, type, body, subject, cause, trace,"
        " created_at) VALUES (:id, 'e', 'k', 't', :body, 'ada', 'cause', '{}', 0)"
    )
    await upgrade(database_url, _up_to("0003", tmp_path / "before"))
    database = open_database(database_url)
    async with database.transaction() as session:
        await session.execute(text(old), {"id": "before", "body": b"{}"})

    await upgrade(database_url, MIGRATIONS)

    async with database.transaction() as session:
        await session.execute(text(old), {"id": "after", "body": b"{}"})
        rows = await session.execute(
            text("SELECT message_id, aggregate, failures, due_at, receiver FROM outbox ORDER BY id")
        )
        assert [tuple(row) for row in rows] == [
            ("before", "ada", 0, 0, None),
            ("after", "", 0, 0, None),
        ]
    await database.close()
