"""The databases that the services stand on, with what may happen to each, and how they are read.

They are read past the services: by SQL, in connections of the harness's own.
"""

import asyncio
import os
import secrets
import sqlite3
import threading
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import asyncpg

from services.local.command import Finished, run
from services.local.ports import LOOPBACK
from services.local.service import CLIENTS
from tests.chaos.proxy import Proxy
from tests.engine import POSTGRES_IMAGE

Row = tuple[Any, ...]

DISK: Final = 64 * 1024 * 1024
"""Bytes of the small disk that a SQLite file may have."""

DOCKER_WITHIN: Final = 60.0
UP_WITHIN: Final = 60.0
LOCK_WITHIN: Final = 20.0


class Databases(ABC):
    """One database for each service."""

    replicas: ClassVar[int]
    """Processes of each service that it serves."""

    @abstractmethod
    async def start(self) -> None:
        """Have them ready."""

    @abstractmethod
    async def stop(self) -> None:
        """End them, with all that they hold."""

    @abstractmethod
    def url(self, service: str) -> str:
        """The SQLAlchemy URL for a service."""

    @abstractmethod
    async def read(self, service: str, statement: str) -> list[Row]:
        """All rows of a query."""


class SqliteDatabases(Databases):
    """A file for each service; the orders' on a small disk of its own, where we may make one."""

    replicas = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._disk = folder / "orders"
        self.small_disk = False
        self._lock: SqliteLock | None = None

    async def start(self) -> None:
        self._disk.mkdir(parents=True)
        if os.geteuid() == 0:
            mounted = await run(
                *("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self._disk)),
                within=DOCKER_WITHIN,
            )
            self.small_disk = mounted.succeeded

    async def stop(self) -> None:
        await self.unlock()
        if self.small_disk:
            await run("umount", "--lazy", str(self._disk), within=DOCKER_WITHIN)

    def file(self, service: str) -> Path:
        return (self._disk if service == "orders" else self._folder) / f"{service}.db"

    def url(self, service: str) -> str:
        return f"sqlite+aiosqlite:///{self.file(service)}"

    async def read(self, service: str, statement: str) -> list[Row]:
        return await asyncio.to_thread(self._read, service, statement)

    def _read(self, service: str, statement: str) -> list[Row]:
        with closing(sqlite3.connect(f"file:{self.file(service)}?mode=ro", uri=True)) as database:
            return database.execute(statement).fetchall()

    async def lock(self, service: str, *, hold: float, pause: float | None) -> None:
        """Hold the write lock until `unlock`: always, or (`pause`) with pauses between."""
        await self.unlock()
        self._lock = SqliteLock(self.file(service), hold=hold, pause=pause)
        await asyncio.to_thread(self._lock.start)

    async def unlock(self) -> None:
        if self._lock is not None:
            await asyncio.to_thread(self._lock.stop)
            self._lock = None

    async def fill_disk(self) -> None:
        """Leave no byte free on the orders' disk."""
        await asyncio.to_thread(self._fill_disk)

    def _fill_disk(self) -> None:
        with suppress(OSError), (self._disk / "ballast").open("wb", buffering=0) as ballast:
            for size in (1024 * 1024, 4096, 1):
                with suppress(OSError):
                    while ballast.write(bytes(size)):
                        pass
        # What the log has room for already would still be written.
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(self.file("orders"), timeout=LOCK_WITHIN)) as database,
        ):
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    async def empty_disk(self) -> None:
        (self._disk / "ballast").unlink(missing_ok=True)


class SqliteLock:
    """Somebody else's transaction: holds the write lock of a file, in a thread of its own."""

    def __init__(self, file: Path, *, hold: float, pause: float | None) -> None:
        self._file = file
        self._hold = hold
        self._pause = pause
        self._held = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        self._held.wait(LOCK_WITHIN)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(sqlite3.connect(self._file, timeout=LOCK_WITHIN, isolation_level=None)) as own:
            while not self._ended.is_set():
                with suppress(sqlite3.Error):
                    own.execute("BEGIN IMMEDIATE")
                self._held.set()
                self._ended.wait(self._hold if self._pause is not None else None)
                with suppress(sqlite3.Error):
                    own.execute("ROLLBACK")
                self._ended.wait(self._pause or 0)


class PostgresDatabases(Databases):
    """A container with a database for each service, each behind a proxy of ours."""

    replicas = 2

    def __init__(self) -> None:
        self._name = f"carnet-chaos-{secrets.token_hex(6)}"
        self._password = secrets.token_urlsafe(16)
        self._port = 0
        self.proxies = {name: Proxy(lambda: (LOOPBACK, self._port)) for name in CLIENTS}
        self._locks: list[asyncpg.Connection] = []

    async def start(self) -> None:
        await self._docker(
            *("run", "--detach", "--name", self._name, "--publish", f"{LOOPBACK}::5432"),
            *("--env", f"POSTGRES_PASSWORD={self._password}", POSTGRES_IMAGE),
            *("-c", "max_connections=300"),
        )
        await self._wait_until_up()
        for service, proxy in self.proxies.items():
            await self._execute("postgres", f'CREATE DATABASE "{service}"')
            await proxy.start()

    async def stop(self) -> None:
        await self.unlock()
        for proxy in self.proxies.values():
            await proxy.stop()
        await run("docker", "rm", "--force", "--volumes", self._name, within=DOCKER_WITHIN)

    def url(self, service: str) -> str:
        port = self.proxies[service].port
        return f"postgresql+asyncpg://postgres:{self._password}@{LOOPBACK}:{port}/{service}"

    async def read(self, service: str, statement: str) -> list[Row]:
        connection = await self._connect(service)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._docker("kill", "--signal", "KILL", self._name)
        await self._docker("wait", self._name)

    async def revive(self) -> None:
        await self._docker("start", self._name)
        await self._wait_until_up()

    async def pause(self) -> None:
        """Stop all of its processes where they are."""
        await self._docker("pause", self._name)

    async def go_on(self) -> None:
        await self._docker("unpause", self._name)

    async def read_only(self, *, only: bool) -> None:
        """Take no writes, in the sessions that there are and in new ones; or take them again."""
        setting = "on" if only else "off"
        await self._execute(
            "postgres", f"ALTER SYSTEM SET default_transaction_read_only = {setting}"
        )
        await self._execute("postgres", "SELECT pg_reload_conf()")

    async def lock(self, service: str, tables: str) -> None:
        """Hold tables for ourselves until `unlock`."""
        connection = await self._connect(service)
        self._locks.append(connection)
        await connection.execute("BEGIN")
        await connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")

    async def unlock(self) -> None:
        while self._locks:
            await self._locks.pop().close(timeout=UP_WITHIN)

    async def _execute(self, database: str, statement: str) -> None:
        connection = await self._connect(database)
        try:
            # ALTER SYSTEM is no write, so it is taken in a read-only session too.
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _connect(self, database: str) -> asyncpg.Connection:
        return await asyncpg.connect(
            host=LOOPBACK,
            port=self._port,
            user="postgres",
            password=self._password,
            database=database,
            timeout=UP_WITHIN,
        )

    async def _wait_until_up(self) -> None:
        async with asyncio.timeout(UP_WITHIN):
            while not await self._is_up():  # noqa: ASYNC110 - a container has no event for it
                await asyncio.sleep(0.2)

    async def _is_up(self) -> bool:
        published = await run("docker", "port", self._name, "5432/tcp", within=DOCKER_WITHIN)
        if not published.succeeded or not published.output.strip():
            return False
        self._port = int(published.output.split()[0].rpartition(":")[2])
        try:
            await self.read("postgres", "SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        return True

    @staticmethod
    async def _docker(*arguments: str) -> Finished:
        answer = await run("docker", *arguments, within=DOCKER_WITHIN)
        if not answer.succeeded:
            raise RuntimeError(f"docker {arguments[0]}: {answer.last_line}")
        return answer
