"""Acts: what is asked of the issuer, done once, in one transaction, and written down with it."""

import getpass
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import service_subject
from auth.errors import Code, RefusalError
from messaging.database import Database
from messaging.rpc import Caller, Refused
from messaging.upsert import insert_into
from services.contracts.topology import USER_SERVICE
from services.users.audit import Entry, What, append
from services.users.pseudonyms import Pseudonyms
from services.users.store import Base, SpentRequest, table_of

REQUEST_LIFE: Final = 300
"""Seconds for which a request's id is kept: longer than any replica would take it, whose clock
is as far behind as clocks may be."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a service by a request, the user service itself, or an operator."""

    who: str
    client: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """The service that sealed a request."""
        return cls(service_subject(caller.client), caller.client, caller.request_id)

    @classmethod
    def operator(cls) -> Self:
        """Whoever runs this command, by the name that the system knows."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a user without a name, as in some containers
            name = "unnamed"
        return cls(f"operator:{name}")

    @classmethod
    def itself(cls) -> Self:
        """The user service, unasked."""
        return cls(service_subject(USER_SERVICE))


@dataclass(frozen=True, slots=True)
class Act:
    """One act under way.

    work: its transaction.   entry: what will be written down; the act fills it in.
    now: when it began, whole seconds.
    """

    work: AsyncSession
    entry: Entry
    now: int


class Acts:
    """Begins and ends acts on one database."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self.pseudonyms = Pseudonyms()

    @asynccontextmanager
    async def of(
        self, asker: Asker, what: What, *, origin: str | None = None
    ) -> AsyncIterator[Act]:
        """An act's transaction, which ends with its entry in the audit log.

        A refusal is an outcome like any other: what was done before it stays done, it is written
        down, and raised once that is committed. Anything else that is raised undoes all.

        A request is taken once, whichever replica it comes to (the in-memory list of those that
        one replica has answered knows nothing of the others).

        Raises:
            Refused: `id_reused`: the request was taken before.
        """
        refusal: Refused | RefusalError | None = None
        async with self._database.transaction() as work:
            now = int(self._clock())
            entry = Entry(what, asker.who, asker.client, asker.request_id)
            entry.origin = await self.pseudonyms.of_origin(work, origin)
            try:
                await self._take(work, asker, now)
                yield Act(work, entry, now)
            except (Refused, RefusalError) as error:
                refusal = error
                entry.outcome = "refused"
                entry.why = error.code if entry.why is None else f"{error.code}: {entry.why}"
            await work.flush()  # so that whatever this waits for, it holds no chain meanwhile
            await append(work, entry, at=now)
        if refusal is not None:
            raise refusal

    async def prune(self) -> None:
        """Forget the requests that no replica would take any more."""
        async with self._database.transaction() as work:
            expired = SpentRequest.expires_at < int(self._clock())
            await work.execute(delete(SpentRequest).where(expired))

    async def _take(self, work: AsyncSession, asker: Asker, now: int) -> None:
        if asker.client is None or asker.request_id is None:
            return
        if not await insert_new(
            work,
            SpentRequest,
            client_id=asker.client,
            request_id=asker.request_id,
            expires_at=now + REQUEST_LIFE,
        ):
            raise Refused(Code.ID_REUSED, "this request was taken before")


async def insert_new(work: AsyncSession, kind: type[Base], **values: object) -> bool:
    """Insert a row unless one like it is there; of two at once, the slower one finds it there."""
    table = table_of(kind)
    key = next(iter(table.primary_key.columns))
    insert = insert_into(work, table).values(**values).on_conflict_do_nothing().returning(key)
    return (await work.execute(insert)).first() is not None
