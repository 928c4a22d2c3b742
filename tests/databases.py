"""Real databases for tests: one PostgreSQL a session, a database of its own each test."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import asyncpg
from testcontainers.community.postgres import PostgresContainer

from tests.engine import POSTGRES_IMAGE, UnavailableError, require_image

Kind = Literal["sqlite", "postgres"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgres")


class Postgres:
    """The PostgreSQL of one test session, started when it is first asked for."""

    def __init__(self) -> None:
        self._container: PostgresContainer | None = None
        self._unavailable: UnavailableError | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def fresh_database(self) -> AsyncIterator[str]:
        """The SQLAlchemy URL of a new database, dropped afterwards.

        Raises:
            UnavailableError: there is no PostgreSQL to be had on this machine.
        """
        server = await self._server()
        name = f"test_{uuid.uuid4().hex}"
        await self._execute(server, f'CREATE DATABASE "{name}"')
        try:
            yield f"postgresql+asyncpg{server.removeprefix('postgresql').rpartition('/')[0]}/{name}"
        finally:
            await self._execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')

    async def close(self) -> None:
        """Stop the server if it was started."""
        if self._container is not None:
            await asyncio.to_thread(self._container.stop)

    async def _server(self) -> str:
        async with self._starting:
            if self._unavailable is not None:
                raise self._unavailable
            if self._container is None:
                try:
                    await asyncio.to_thread(require_image, POSTGRES_IMAGE)
                except UnavailableError as error:
                    self._unavailable = error
                    raise
                container = PostgresContainer(POSTGRES_IMAGE, driver=None)
                self._container = await asyncio.to_thread(container.start)
        return self._container.get_connection_url()

    @staticmethod
    async def _execute(server: str, statement: str) -> None:
        connection = await asyncpg.connect(server, timeout=30)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
