"""Which migrations a database has had, and which it should have: looked at, never changed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from messaging.database import STATEMENT, WAIT, parse_database_url
from messaging.database_faults import address_of, connect_faults, database_faults
from messaging.errors import DatabaseUnavailableError
from messaging.findings import Finding, fail, ok

CHECK: Final = "database"


@dataclass(frozen=True, slots=True)
class Schema:
    """Revisions; None where the database has had no migration at all."""

    present: str | None
    expected: str | None
    known: bool
    """Whether `present` is among the migrations that we have."""
    writable: bool


async def examine_schema(url: str, script_location: Path, *, service: str) -> Finding:
    """Whether the service finds its database there, writable and up to date.

    Raises:
        DatabaseUrlError, DatabaseUnavailableError: as `messaging.database`.
    """
    place = address_of(parse_database_url(url))
    schema = await read_schema(url, script_location)
    if schema.present is not None and not schema.known:
        return fail(
            CHECK,
            f"{place} is at revision {schema.present}, which this version does not know: it was "
            "migrated by a newer one; run that",
        )
    if schema.present != schema.expected:
        return fail(
            CHECK,
            f"{place} is at revision {schema.present or 'none'} and must be at {schema.expected}; "
            f"start the service, or run: carnet migrate {service}",
        )
    if not schema.writable:
        return fail(CHECK, f"{place} is read-only; make it writable")
    return ok(CHECK, f"{place} is at revision {schema.present}")


async def examine_revision(url: str) -> Finding:
    """Whether a service whose migrations we have not finds its database there, and writable.

    Raises:
        DatabaseUrlError, DatabaseUnavailableError: as `messaging.database`.
    """
    parsed = parse_database_url(url)
    place = address_of(parsed)
    async with reading(url) as connection:
        present = await connection.run_sync(_revision)
        writable = await connection.run_sync(lambda each: _writable(each, parsed))
    if present is None:
        return fail(CHECK, f"{place} has had no migration; start the service")
    if not writable:
        return fail(CHECK, f"{place} is read-only; make it writable")
    return ok(CHECK, f"{place} is at revision {present}; the service says whether that is its last")


async def read_schema(url: str, script_location: Path) -> Schema:
    """Look, read-only.

    Raises:
        DatabaseUrlError, DatabaseUnavailableError: as `messaging.database`.
    """
    parsed = parse_database_url(url)
    config = Config()
    config.set_main_option("script_location", str(script_location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    async with reading(url) as connection:
        present = await connection.run_sync(_revision)
        writable = await connection.run_sync(lambda each: _writable(each, parsed))
    return Schema(present, scripts.get_current_head(), _knows(scripts, present), writable)


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection that can change nothing, on a database that is there.

    Raises:
        DatabaseUrlError, DatabaseUnavailableError: as `messaging.database`.
    """
    parsed = parse_database_url(url)
    engine = create_async_engine(
        _read_only(parsed), poolclass=NullPool, hide_parameters=True, connect_args=_options(parsed)
    )
    try:
        with database_faults(parsed), connect_faults(parsed):
            async with engine.connect() as connection:
                yield connection
    finally:
        await engine.dispose()


def _read_only(url: URL) -> URL:
    if url.get_backend_name() != "sqlite":
        return url
    path = _path(url)
    if not path.is_file():
        raise DatabaseUnavailableError(
            f"there is no database {path} yet; the service makes it when it starts"
        )
    query = {**url.query, "mode": "ro", "uri": "true"}
    return url.set(database=f"file:{quote(str(path))}", query=query)


def _path(url: URL) -> Path:
    """The file itself; a name that is a URI has escapes (sqlite.org/uri.html)."""
    name = url.database or ""
    return Path(unquote(name.removeprefix("file:")) if name.startswith("file:") else name)


def _options(url: URL) -> dict[str, object]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": WAIT}
    # Whatever we might ask, the server changes nothing.
    read_only = {"default_transaction_read_only": "on"}
    return {"timeout": WAIT, "command_timeout": STATEMENT, "server_settings": read_only}


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _writable(connection: Connection, url: URL) -> bool:
    if connection.dialect.name == "sqlite":
        path = _path(url)
        asked_for = url.query.get("mode") != "ro"
        return asked_for and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    standby = bool(connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one())
    return not standby


def _knows(scripts: ScriptDirectory, revision: str | None) -> bool:
    try:
        return revision is not None and scripts.get_revision(revision) is not None
    except CommandError:
        return False
