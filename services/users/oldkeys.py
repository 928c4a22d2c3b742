"""The issuer's old keys, for what was signed long ago and is only now judged again."""

from collections.abc import AsyncIterator
from dataclasses import replace

from sqlalchemy import select

from auth.errors import KeySetError
from auth.keyset import KeySet, ListedKey, TrustRoot
from messaging.database import Database
from services.users.store import AdoptedKeySet


class OldKeys:
    """Finds keys in the statements that were believed before the present one."""

    def __init__(self, root: TrustRoot, database: Database) -> None:
        self._root = root
        self._database = database

    async def with_key(self, present: KeySet, kid: str) -> KeySet:
        """The present statement, and beside its own keys the issuer's old one of this id.

        Only as it was listed last, and only if that was as retired: what goes on to be listed as
        anything else until it is listed no more was withdrawn, and verifies nothing. Where there is
        no such key, the present statement is returned as it is.
        """
        if kid in present.issuer_keys:
            return present
        async for earlier in self._earlier(present):
            listed = earlier.issuer_keys.get(kid)
            if listed is not None:
                return _beside(present, kid, listed) if listed.state == "retired" else present
        return present

    async def _earlier(self, present: KeySet) -> AsyncIterator[KeySet]:
        """The statements before the present one, the newest first, under the root of now."""
        async with self._database.session() as work:
            found = await work.scalars(
                select(AdoptedKeySet)
                .where(AdoptedKeySet.version < present.version)
                .order_by(AdoptedKeySet.version.desc())
            )
            stored = found.all()
        for each in stored:
            try:
                yield self._root.verify(each.statement, now=each.issued_at)
            except KeySetError:
                return  # of an earlier root: what that one signed counts no more


def _beside(present: KeySet, kid: str, listed: ListedKey) -> KeySet:
    return replace(present, issuer_keys={**present.issuer_keys, kid: listed})
