"""The issuer's own trust: the newest key set statement that it was given, wherever that was.

The statement's file is read again when it changes, and the highest version is kept in the
database, where all replicas find it. No feed is needed: the issuer reads what it has revoked
from its database, when it is asked.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import select

from auth.errors import KeySetError
from auth.keyset import MAX_STATEMENT, KeySet, TrustRoot
from auth.revocation import RevocationList
from messaging.database import Database
from messaging.errors import DatabaseUnavailableError
from messaging.pause import first_of
from services.errors import StartError
from services.users.acts import insert_new
from services.users.audit import Entry, What, append
from services.users.store import AdoptedKeySet, IssuerKey

EVERY: Final = 1.0
"""Seconds between two looks at file and database."""

log = structlog.get_logger(__name__)


class IssuerTrust:
    """A `TrustSource` that follows a file and a database.

    Whoever judges by it also asks the database, so it cannot be stale without that being
    noticed: it needs no freshness of its own beyond the statement's.
    """

    def __init__(
        self, root: TrustRoot, file: Path, database: Database, *, clock: Callable[[], float]
    ) -> None:
        self.root = root
        self._file = file
        self._database = database
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._unbelieved: set[int] = set()
        self._complaint: str | None = None
        self._held: KeySet | None = None
        self.revocations = RevocationList()
        self.changed = asyncio.Event()
        """Set whenever another statement is adopted; who waits for it clears it."""

    @property
    def key_set(self) -> KeySet:
        if self._held is None:
            raise RuntimeError("nothing is trusted before start()")
        return self._held

    def require_fresh(self, now: float) -> None:
        """Raise unless the statement is still believed.

        Raises:
            TrustUnavailableError: it is expired.
        """
        self.key_set.require_current(now)

    async def start(self) -> None:
        """Adopt the newer one of the file's statement and the database's.

        Raises:
            StartError: the file cannot be read, and the database has none.
            KeySetError: the statement is not to be believed, or contradicts the database's.
        """
        await self._follow_database()
        try:
            await self._follow_file()
        except StartError:
            if self._held is None:
                raise
        self.key_set.require_current(self._clock())

    async def run(self, shutdown: asyncio.Event) -> None:
        """Look again every second, until `shutdown`. What is no good is told, and ignored."""
        while not await first_of(shutdown, timeout=EVERY):
            try:
                await self._follow_database()
                await self._follow_file()
            except (KeySetError, StartError, DatabaseUnavailableError) as error:
                if self._complaint != (complaint := str(error)):
                    log.warning("key_set_not_adopted", code=error.code, detail=complaint)
                self._complaint = complaint
            else:
                self._complaint = None

    async def _follow_database(self) -> None:
        async with self._database.session() as work:
            newest = await work.scalar(
                select(AdoptedKeySet)
                .where(AdoptedKeySet.version.not_in(self._unbelieved))
                .order_by(AdoptedKeySet.version.desc())
                .limit(1)
            )
        if newest is None or (self._held and newest.version <= self._held.version):
            return
        stored = self._believe(newest)
        if stored is None:
            self._unbelieved.add(newest.version)
            log.warning("stored_key_set_refused", version=newest.version)
        else:
            self._hold(stored)

    def _believe(self, stored: AdoptedKeySet) -> KeySet | None:
        """None after a change of the trust root: what the old one signed counts no more."""
        try:
            # As of its own time: an expired one is still to be superseded, never undercut.
            return self.root.verify(stored.statement, now=stored.issued_at)
        except KeySetError:
            return None

    async def _follow_file(self) -> None:
        """Adopt the file's statement, if it is another than the last time and newer.

        Raises:
            StartError: it cannot be read.
            KeySetError: it is not to be believed, or of the same version with other content.
        """
        try:
            status = await asyncio.to_thread(self._file.stat)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return
            statement = await asyncio.to_thread(self._read)
        except OSError as error:
            raise StartError(
                f"{self._file}: cannot read: {error.strerror}; make one with: carnet trust init"
            ) from error
        except UnicodeDecodeError as error:
            raise KeySetError(f"{self._file}: is no statement") from error
        self._seen = seen
        try:
            offered = self.root.verify(statement, now=self._clock())
            if self._held is not None and offered.version < self._held.version:
                log.warning("older_key_set_ignored", version=offered.version)
            elif offered.supersedes(self._held):
                await self._adopt(offered)
        except KeySetError as error:
            raise KeySetError(f"{self._file}: {error.detail}") from error
        except DatabaseUnavailableError:
            self._seen = None
            raise

    def _read(self) -> str:
        with self._file.open(encoding="ascii") as file:
            return file.read(MAX_STATEMENT + 1)

    async def _adopt(self, key_set: KeySet) -> None:
        async with self._database.transaction() as work:
            if not await insert_new(work, AdoptedKeySet, **_values(key_set, self._clock())):
                stored = await work.get_one(AdoptedKeySet, key_set.version, with_for_update=True)
                believed = self._believe(stored)
                if believed is not None:  # another replica was faster; with the same one?
                    key_set.supersedes(believed)
                else:
                    stored.statement, stored.issued_at = key_set.statement, key_set.issued_at
            for kid in key_set.issuer_keys:
                await insert_new(work, IssuerKey, kid=kid, listed_at=int(self._clock()))
            version = f"version {key_set.version}"
            await append(
                work, Entry(What.ADOPT_KEY_SET, "trust-root", whom=version), at=int(self._clock())
            )
        self._hold(key_set)

    def _hold(self, key_set: KeySet) -> None:
        self._held = key_set
        self.changed.set()
        log.info("key_set_adopted", version=key_set.version)


def _values(key_set: KeySet, now: float) -> dict[str, object]:
    return {
        "version": key_set.version,
        "issued_at": key_set.issued_at,
        "adopted_at": int(now),
        "statement": key_set.statement,
    }
