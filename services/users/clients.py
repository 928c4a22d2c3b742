"""Public clients: the apps that users sign in with, and what each may ask for.

They have no key, so they are in no key set statement: what one gets, a user gives it
(docs/decisions/0026-oauth-clients.md). Carnet's own command line is one from the start.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import join_scope
from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.scopes import ORDERS_READ, ORDERS_WRITE, ROLES
from services.users.acts import Acts, Asker, insert_new
from services.users.audit import What
from services.users.redirects import chosen, fault_of
from services.users.scope import Roles, asked_scope, given_by
from services.users.sessions import Ended, Sessions
from services.users.store import DeviceCode, PublicClient

KIND: Final = "app:"
COMMAND_LINE: Final = "app:carnet-cli"

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{1,58}")
_TITLE: Final = 100
_MOST_REDIRECTS: Final = 20

DEFAULT_SCOPES: Final = (ORDERS_READ, ORDERS_WRITE)
"""What everybody's own work needs. The command line asks for no more: it is known to all, so that
whoever starts a device can show its name to an operator."""


class InvalidClientError(Refused):
    """There is no such client, or it may not do this at all (RFC 6749 §5.2)."""

    def __init__(self) -> None:
        super().__init__("invalid_client", "there is no public client with this client_id")


class UnknownClientError(Refused):
    def __init__(self) -> None:
        super().__init__("unknown_client", "there is no public client with this client_id")


class ClientRefusedError(Refused):
    """An operator asks for a client that there cannot be."""

    def __init__(self, detail: str) -> None:
        super().__init__("invalid_client_metadata", detail)


def built_in() -> PublicClient:
    """The command line: for devices alone."""
    return PublicClient(
        client_id=COMMAND_LINE,
        title="Carnet's command line",
        redirect_uris=[],
        scopes=sorted(DEFAULT_SCOPES),
        devices=True,
        created_at=0,
    )


class Clients:
    def __init__(
        self, database: Database, acts: Acts, sessions: Sessions, roles: Roles = ROLES
    ) -> None:
        self._database = database
        self._acts = acts
        self._sessions = sessions
        self._scopes = given_by(roles)

    async def find(self, work: AsyncSession, client_id: str) -> PublicClient | None:
        if client_id == COMMAND_LINE:
            return built_in()
        name = client_id.removeprefix(KIND)
        if name == client_id or _NAME.fullmatch(name) is None:
            return None  # no such one can be stored; PostgreSQL rejects a NUL
        return await work.get(PublicClient, client_id)

    async def need(self, work: AsyncSession, client_id: str) -> PublicClient:
        """The client that asks for a token.

        Raises:
            InvalidClientError
        """
        client = await self.find(work, client_id)
        if client is None:
            raise InvalidClientError
        return client

    async def answering(
        self, work: AsyncSession, client_id: str, redirect_uri: str | None
    ) -> tuple[PublicClient, str]:
        """The client, and the address that its answer goes to.

        Raises:
            UnknownClientError
            Refused: `invalid_redirect_uri`: nothing may be sent there.
        """
        client = await self.find(work, client_id)
        if client is None:
            raise UnknownClientError
        address = chosen(redirect_uri, client.redirect_uris)
        if address is None:
            raise Refused("invalid_redirect_uri", "the redirect_uri is not one of this client's")
        return client, address

    async def list(self) -> Sequence[PublicClient]:
        async with self._database.session() as work:
            added = await work.scalars(select(PublicClient).order_by(PublicClient.client_id))
            return [built_in(), *added]

    async def add(
        self,
        asker: Asker,
        name: str,
        *,
        title: str,
        redirect_uris: Iterable[str],
        scopes: Iterable[str],
        devices: bool,
    ) -> str:
        """Add a client; its client id.

        Raises:
            ClientRefusedError: it is there already, or cannot be.
        """
        addresses, wanted = list(dict.fromkeys(redirect_uris)), sorted(set(scopes))
        _check(name, title, addresses, devices=devices)
        _check_scopes(wanted, self._scopes)
        client_id = f"{KIND}{name}"
        async with self._acts.of(asker, What.ADD_CLIENT) as act:
            act.entry.whom, act.entry.why = client_id, " ".join(wanted)
            if client_id == COMMAND_LINE or not await insert_new(
                act.work,
                PublicClient,
                client_id=client_id,
                title=title,
                redirect_uris=addresses,
                scopes=wanted,
                devices=devices,
                created_at=act.now,
            ):
                raise ClientRefusedError(f"there is a client {client_id} already")
        return client_id

    async def remove(self, asker: Asker, client_id: str) -> int:
        """Remove a client, and end all sessions that users have with it: so many.

        Raises:
            ClientRefusedError: there is none, or it is built in.
        """
        async with self._acts.of(asker, What.REMOVE_CLIENT) as act:
            act.entry.whom = client_id
            if client_id == COMMAND_LINE:
                raise ClientRefusedError(f"{client_id} is built in")
            client = await self.find(act.work, client_id)
            if client is None:
                raise ClientRefusedError(f"there is no client {client_id}")
            await act.work.delete(client)
            await act.work.execute(delete(DeviceCode).where(DeviceCode.client_id == client_id))
            ended = await self._sessions.end_of_client(act, client_id, Ended.REVOKED)
            act.entry.why = f"{ended} sessions"
        return ended


def granted(client: PublicClient, unverified_scope: str | None) -> str:
    """What a client asks for, of what it may ask for; what its user may do is another question.

    Raises:
        Refused: `invalid_scope`.
    """
    return join_scope(asked_scope(unverified_scope, frozenset(client.scopes)))


def _check(name: str, title: str, redirect_uris: list[str], *, devices: bool) -> None:
    if _NAME.fullmatch(name) is None:
        raise ClientRefusedError(
            "a name has 2 to 59 lower-case letters, digits and dashes, a letter first"
        )
    if not title or len(title) > _TITLE or not title.isprintable():
        raise ClientRefusedError(f"a title has 1 to {_TITLE} characters, on one line")
    if not redirect_uris and not devices:
        raise ClientRefusedError("a client has a redirect URI, or is for devices")
    if len(redirect_uris) > _MOST_REDIRECTS:
        raise ClientRefusedError(f"a client has {_MOST_REDIRECTS} redirect URIs at most")
    for redirect_uri in redirect_uris:
        if fault := fault_of(redirect_uri):
            raise ClientRefusedError(f"the redirect URI {redirect_uri!r}: {fault}")


def _check_scopes(scopes: list[str], known: frozenset[str]) -> None:
    if not scopes:
        raise ClientRefusedError("a client has at least one scope")
    if unknown := sorted(set(scopes) - known):
        raise ClientRefusedError(
            f"there is no scope {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
