"""Bringing a service's database up to date, by its own Alembic migrations, from code.

A service's `migrations/env.py` is one line, `run_migrations(METADATA)`; replicas that start at
the same moment go one after the other.
"""

from pathlib import Path
from typing import Final

from alembic import command, context
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.database import Database, parse_database_url, writing
from messaging.database_faults import address_of, database_faults
from messaging.errors import MigrationError

TURN: Final = 60
"""Seconds to wait for another replica that migrates."""

_LOCK: Final = 0x_CA21_4E71
"""Key of the advisory lock on PostgreSQL."""

_CONNECTION: Final = "carnet_connection"


async def upgrade(url: str, script_location: str | Path) -> None:
    """Run the migrations in the folder `script_location` that `url` has not had yet.

    They run in one transaction: all, or none.

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
                connection = await writing(plain)
                async with connection.begin():
                    await _take_turn(connection)
                    await connection.run_sync(_upgrade, folder)
    except CommandError as error:
        raise MigrationError(f"{address_of(database.url)} cannot be migrated: {error}") from error
    finally:
        await database.close()


def run_migrations(metadata: MetaData) -> None:
    """What a service's `env.py` does: run on the connection that `upgrade` has made."""
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


def _upgrade(connection: Connection, folder: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes[_CONNECTION] = connection
    command.upgrade(config, "head")
