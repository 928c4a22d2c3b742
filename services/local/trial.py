"""A local stack for the tests of a service of one's own: everything real, and thrown away after."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import Row, Table, select

from messaging.database import open_database
from services.declared import DECLARED, FILE
from services.local.child import Child
from services.local.errors import LocalError
from services.local.ports import LOOPBACK
from services.local.running import told
from services.local.service import Service, drain
from services.local.stack import LocalStack
from services.own import OwnService

WITHIN: Final = 30.0
"""Seconds within which what a test waits for must come."""

LOOK: Final = 0.05


class Trial:
    """A stack that runs, with the service on it."""

    def __init__(self, gateway_url: str, database_url: str, clients: AsyncExitStack) -> None:
        self.gateway_url = gateway_url
        self._database_url = database_url
        self._clients = clients

    async def user(self, name: str = "ada") -> httpx.AsyncClient:
        """A client of the gateway's for somebody who has just registered and signed in."""
        client = httpx.AsyncClient(base_url=self.gateway_url, trust_env=False, timeout=WITHIN)
        await self._clients.enter_async_context(client)
        credentials = {"name": name, "password": secrets.token_urlsafe(16)}
        (await client.post("/v1/users", json=credentials)).raise_for_status()
        signed_in = (await client.post("/v1/sessions", json=credentials)).raise_for_status()
        client.headers["authorization"] = f"Bearer {signed_in.json()['access_token']}"
        return client

    async def rows(self, table: Table) -> list[Row[Any]]:
        """What the service keeps in one of its tables."""
        database = open_database(self._database_url)
        try:
            async with database.session() as session:
                return list(await session.execute(select(table)))
        finally:
            await database.close()

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that says nothing by itself when it happens.

        Raises:
            TimeoutError: it does not happen within `WITHIN` seconds.
        """
        async with asyncio.timeout(WITHIN):
            while not await holds():  # noqa: ASYNC110 - a table or an answer has no event
                await asyncio.sleep(LOOK)


@asynccontextmanager
async def trial(service: OwnService, folder: Path) -> AsyncIterator[Trial]:
    """Run the whole system, and beside it the service whose package is `folder`.

    On the broker of CARNET_AMQP_URL where that is set, else on one of its own.

    Raises:
        StartError, BrokerError, AuthError: what is missing or in the way, in one line.
    """
    client_id = service.declared.client
    with tempfile.TemporaryDirectory(prefix="carnet-trial-") as temporary:
        state = Path(temporary)
        (state / DECLARED).mkdir()
        declared = (folder / FILE).read_bytes()
        (state / DECLARED / f"{client_id}.toml").write_bytes(declared)
        stack = LocalStack(state, given_url=os.environ.get("CARNET_AMQP_URL"), throwaway=True)
        async with stack, AsyncExitStack() as clients:
            settings = told(state, client_id)
            if settings is None:
                raise LocalError(f"the stack knows no service {client_id}")
            process = Service(client_id, state, LOOPBACK, int(settings["CARNET_PORT"]))
            child = await Child.start(
                client_id,
                [sys.executable, "-m", folder.name],
                env={**os.environ, **settings},
                cwd=folder.parent,
                log=process.log,
            )
            try:
                await process.wait_until_ready(child)
                yield Trial(stack.gateway_url, settings["CARNET_DATABASE_URL"], clients)
            finally:
                await drain(child)
