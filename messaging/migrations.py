"""Bringing a service's database up to date, by its own Alembic migrations, from code.

A service's `migrations/env.py` is one line, `run_migrations(METADATA)`; replicas that start at
the same moment go one after the other.
"""

import ast
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.database import Database, parse_database_url, writing
from messaging.database_faults import address_of, database_faults
from messaging.errors import MigrationError

TURN: Final = 60
"""Seconds to wait for another replica that migrates."""

_LOCK: Final = 0x_CA21_4E71
"""Key of the advisory lock on PostgreSQL."""

_CONNECTION: Final = "carnet_connection"
_TABLE: Final = "alembic_version"


async def upgrade(url: str, script_location: str | Path) -> None:
    """Run the migrations in the folder `script_location` that `url` has not had yet.

    They run in one transaction: all, or none. A database that has had them all is only looked at,
    and Alembic (200 ms, 7 MiB) is not even imported.

    Raises:
        DatabaseUrlError, DatabaseUnavailableError: as `messaging.database`.
        MigrationError: the folder is missing, or the database is ahead of it.
    """
    folder = Path(script_location)
    if not (folder / "env.py").is_file():
        raise MigrationError(f"there are no migrations in {folder}")
    database = Database(parse_database_url(url))
    try:
        with database_faults(database.url):
            async with database.engine.connect() as plain:
                async with plain.begin():
                    if await plain.run_sync(_revisions) == latest_revisions(folder):
                        return
                connection = await writing(plain)
                async with connection.begin():
                    await _take_turn(connection)
                    await connection.run_sync(_upgrade, folder, address_of(database.url))
    finally:
        await database.close()


def latest_revisions(folder: Path) -> set[str]:
    """The revisions that no other one follows, of the scripts in `folder`; read, never run."""
    said = [_literals(script) for script in (folder / "versions").glob("*.py")]
    revisions = {str(each["revision"]) for each in said if "revision" in each}
    return revisions - {str(each["down_revision"]) for each in said if "down_revision" in each}


def _literals(script: Path) -> dict[str, object]:
    """What a script's first level gives a name to, as far as it is a literal."""
    return {
        target.id: statement.value.value
        for statement in ast.parse(script.read_bytes()).body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def _revisions(connection: Connection) -> set[str]:
    """The revisions that the database is at; none where it has had no migration."""
    if not inspect(connection).has_table(_TABLE):
        return set()
    return set(connection.scalars(text(f"SELECT version_num FROM {_TABLE}")))  # noqa: S608


def run_migrations(metadata: MetaData) -> None:
    """What a service's `env.py` does: run on the connection that `upgrade` has made."""
    from alembic import context  # noqa: PLC0415 - see `upgrade`

    context.configure(
        connection=context.config.attributes[_CONNECTION],
        target_metadata=metadata,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _take_turn(connection: AsyncConnection) -> None:
    # On SQLite the transaction itself, begun by a writer, is the lock.
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SET LOCAL lock_timeout = '{TURN}s'"))
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def _upgrade(connection: Connection, folder: Path, address: str) -> None:
    from alembic import command  # noqa: PLC0415 - see `upgrade`
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes[_CONNECTION] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise MigrationError(f"{address} cannot be migrated: {error}") from error
