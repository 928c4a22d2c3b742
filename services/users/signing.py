"""Which of the issuer's keys signs: one, for all replicas, as their database says.

At first it is the one that the key set statement lists as active. From then on the issuer moves
by itself to keys that the trust root has listed as next (`services.users.rotation`); every
replica reads which one it is, at most half a second late, and signs with no key that the
statement of the moment does not list.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import TrustUnavailableError
from auth.keys import SigningKey
from auth.keyset import ListedKey
from auth.tokens import Issuer
from auth.trust import TrustSource
from messaging.database import Database
from services.errors import StartError
from services.users.acts import insert_new
from services.users.keyfolder import KeyFolder
from services.users.store import Feed, IssuerKey

FOLLOW: Final = 0.5
"""Seconds for which a replica believes what it has read."""


class IssuerKeys:
    def __init__(
        self,
        folder: KeyFolder,
        trust: TrustSource,
        database: Database,
        *,
        clock: Callable[[], float],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._trust = trust
        self._database = database
        self._clock = clock
        self._ticks = ticks
        self._kid: str | None = None
        self._read_at = -FOLLOW
        self._reading = asyncio.Lock()

    async def begin(self) -> None:
        """Let the statement's active key sign, where none was ever chosen.

        Raises:
            StartError: none in the folder is the active one.
        """
        async with self._database.transaction() as work:
            await work.execute(select(Feed.id).with_for_update())  # replicas begin one by one
            if await signing_kid(work) is None:
                kid, now = self._listed_as_active(), int(self._clock())
                await insert_new(work, IssuerKey, kid=kid, listed_at=now)
                await choose(work, kid, now=now)

    async def require(self) -> None:
        """Make sure that there is something to sign with.

        Raises:
            StartError: there is not, and what to do.
        """
        try:
            await self.signing_key()
        except TrustUnavailableError as error:
            raise StartError(f"{error.detail}; see: carnet keys list") from error

    @property
    def ready(self) -> bool:
        """Whether the key that signed last may go on and is here."""
        listed = self._trust.key_set.issuer_keys.get(self._kid or "")
        if self._kid is None or listed is None or not may_sign(listed, now=self._clock()):
            return False
        return self.folder.get(self._kid) is not None

    async def issuer(self) -> Issuer:
        """What signs now.

        Raises:
            TrustUnavailableError: there is nothing that may sign.
            DatabaseUnavailableError: it cannot be known.
        """
        return Issuer(self._trust.key_set.issuer, await self.signing_key())

    async def signing_key(self) -> SigningKey:
        """The key that signs now.

        Raises:
            TrustUnavailableError, DatabaseUnavailableError: as `issuer`.
        """
        kid = await self.kid()
        listed = self._trust.key_set.issuer_keys.get(kid)
        if listed is None or not may_sign(listed, now=self._clock()):
            raise TrustUnavailableError(f"the issuer's key {kid} is listed no more")
        key = self.folder.get(kid)
        if key is None:
            raise TrustUnavailableError(f"the issuer's key {kid} is not in {self.folder.folder}")
        return key

    async def kid(self) -> str:
        """The id of the key that signs, as the database says or said half a second ago.

        Raises:
            TrustUnavailableError: none does.
            DatabaseUnavailableError: it cannot be known.
        """
        async with self._reading:  # those who come at once share one answer
            if self._kid is None or self._ticks() - self._read_at >= FOLLOW:
                asked_at = self._ticks()
                async with self._database.session() as work:
                    kid = await signing_kid(work)
                if kid is None:
                    raise TrustUnavailableError("the issuer has no key to sign with")
                self._kid, self._read_at = kid, asked_at
            return self._kid

    def forget(self) -> None:
        """Read anew: another key was chosen just now."""
        self._read_at = -FOLLOW

    def _listed_as_active(self) -> str:
        key_set = self._trust.key_set
        for kid, listed in key_set.issuer_keys.items():
            if listed.state == "active" and self.folder.get(kid) is not None:
                return kid
        raise StartError(
            f"{self.folder.folder}: no key here is listed as the issuer's active key in version "
            f"{key_set.version} of the key set statement; see: carnet trust show"
        )


def may_sign(listed: ListedKey, *, now: float) -> bool:
    """Whether what the key signs now will be believed."""
    return listed.signed_in_time(int(now))


async def signing_kid(work: AsyncSession, *, lock: bool = False) -> str | None:
    """The id of the key that signs; with `lock` it stays so until the transaction ends."""
    signing = select(IssuerKey.kid).where(IssuerKey.signing.is_(True))
    return await work.scalar(signing.with_for_update() if lock else signing)


async def put_away(work: AsyncSession, kid: str, *, now: int) -> None:
    """Have a key that does not sign never do so; one that has ceased to before keeps its time."""
    unused = IssuerKey.signing.is_(None), IssuerKey.retired_at.is_(None)
    await work.execute(
        update(IssuerKey).where(IssuerKey.kid == kid, *unused).values(retired_at=now)
    )


async def choose(work: AsyncSession, kid: str, *, now: int) -> None:
    """Let this key sign from now on; the one that did never does again."""
    await work.execute(
        update(IssuerKey).where(IssuerKey.signing.is_(True)).values(signing=None, retired_at=now)
    )
    await work.execute(
        update(IssuerKey).where(IssuerKey.kid == kid).values(signing=True, since=now)
    )
