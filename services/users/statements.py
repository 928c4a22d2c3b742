"""The issuer's statements on the trust feed, each signed with the key of the moment."""

import asyncio
from collections.abc import Callable

from auth.statements import Herald, Revocation
from auth.trust import TrustSource
from services.users.revocations import Page, Revocations
from services.users.signing import IssuerKeys


class Statements:
    """Raises, all of it: TrustUnavailableError, DatabaseUnavailableError: nothing can sign now."""

    def __init__(
        self,
        keys: IssuerKeys,
        trust: TrustSource,
        revocations: Revocations,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._trust = trust
        self._revocations = revocations
        self._clock = clock
        self._herald: Herald | None = None
        self._one_page = asyncio.Lock()
        self._wanted: dict[int, asyncio.Task[str]] = {}
        """Pages that are asked for and not yet begun, by the number that they follow."""

    async def revocation(self, revoked: Revocation) -> str:
        """That this was ended."""
        herald, key = await self._for_now(), await self._keys.signing_key()
        return herald.revocation(revoked, key=key, now=self._clock())

    async def heartbeat(self, seq: int) -> str:
        """That `seq` is the latest revocation, and our key set the newest."""
        herald, key = await self._for_now(), await self._keys.signing_key()
        version = self._trust.key_set.version
        return herald.heartbeat(seq=seq, version=version, key=key, now=self._clock())

    async def snapshot(self, after: int) -> str:
        """What is in force, by numbers above `after`; a page of it.

        Those who ask for the same one before it is begun share it: after a loss of the broker that
        may be a thousand.
        """
        page = self._wanted.get(after)
        if page is None:
            page = self._wanted[after] = asyncio.create_task(self._page(after), name="snapshot")
            page.add_done_callback(_seen)
        return await asyncio.shield(page)

    async def _page(self, after: int) -> str:
        async with self._one_page:
            # Whoever asks from now on may have heard of more than what is read here.
            del self._wanted[after]
            return await self.page(await self._revocations.page(after))

    async def page(self, page: Page) -> str:
        """That these are in force, and what they are."""
        herald, key = await self._for_now(), await self._keys.signing_key()
        return herald.snapshot(
            page.entries,
            after=page.after,
            upto=page.upto,
            seq=page.seq,
            version=self._trust.key_set.version,
            key=key,
            now=self._clock(),
        )

    async def _for_now(self) -> Herald:
        if self._herald is None:
            feed = await self._revocations.feed()
            self._herald = Herald(self._trust.key_set.issuer, feed)
        return self._herald


def _seen(page: asyncio.Task[str]) -> None:
    """Whoever asked may be gone before the page has failed."""
    if not page.cancelled():
        page.exception()
