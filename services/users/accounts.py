"""Accounts: who may sign in, with which roles."""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import uuid4

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.passwords import needs_rehash
from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.users import NAME_PATTERN
from services.users.acts import Act, Acts, Asker, insert_new
from services.users.attempts import Attempts
from services.users.audit import What
from services.users.passwords import Passwords
from services.users.revocations import Revocations
from services.users.store import Account

_NAME: Final = re.compile(NAME_PATTERN)
_PART: Final = re.compile(r"[a-z0-9._-]*")
"""What a part of a name, or of a `sub`, may be."""


class NameTakenError(Refused):
    def __init__(self) -> None:
        super().__init__("name_taken", "this name is taken")


class UnknownAccountError(Refused):
    def __init__(self, name: str) -> None:
        super().__init__("unknown_account", f"there is no account named {name!r}")


class Accounts:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        acts: Acts,
        revocations: Revocations,
        attempts: Attempts,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._acts = acts
        self._revocations = revocations
        self._attempts = attempts

    async def add(
        self,
        asker: Asker,
        name: str,
        password: str,
        roles: Iterable[str],
        *,
        origin: str | None = None,
    ) -> Account:
        """Make an account; `origin` where somebody registers, and may not do so for ever.

        Raises:
            NameTakenError: also to the slower of two at once.
            Refused: `too_many_attempts`, and when it is allowed again.
        """
        what = What.ADD_ACCOUNT if asker.client is None else What.REGISTER
        password_hash = await self._passwords.hash(password)
        async with self._acts.of(asker, what, origin=origin) as act:
            wait = await self._attempts.wait_to_register(act.work, act.entry.origin)
            if wait:
                raise Refused(
                    "too_many_attempts",
                    "too many accounts were made from there lately",
                    retry_after=wait,
                )
            account = Account(
                sub=str(uuid4()),
                name=name,
                password_hash=password_hash,
                roles=sorted(set(roles)),
                epoch=1,
                enabled=True,
                created_at=act.now,
            )
            if not await insert_new(act.work, Account, **_values(account)):
                raise NameTakenError
            act.entry.whom, act.entry.why = account.sub, " ".join(account.roles)
        return account

    async def authenticate(self, name: str, password: str) -> Account | None:
        """The account whose name and password these are.

        An unknown name and a wrong password cost the same time. Whether it may be told is for
        `Attempts` to say.
        """
        account = await self.find(name)
        stored = None if account is None else account.password_hash
        return account if await self._passwords.verify(stored, password) else None

    async def find(self, name: str) -> Account | None:
        async with self._database.session() as work:
            return await _named(work, name)

    async def hold(self, act: Act, name: str) -> Account | None:
        """The account as it is now, and nobody changes it before the act ends."""
        return await _named(act.work, name, lock=True)

    async def list(self, search: str | None = None) -> Sequence[Account]:
        """All accounts that `page` would find, by name."""
        async with self._database.session() as work:
            return await self.page(work, search=search)

    async def page(
        self,
        work: AsyncSession,
        *,
        search: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Sequence[Account]:
        """Accounts by name, those alone that come after the name `after`.

        search: part of a name, in whatever case, or a whole `sub`; None for all.
        """
        part = (search or "").lower()
        if not _PART.fullmatch(part) or not _PART.fullmatch(after or ""):
            return ()  # no such name can be stored; PostgreSQL rejects a NUL
        found = select(Account).order_by(Account.name).limit(limit)
        if part:
            named = Account.name.contains(part, autoescape=True)
            found = found.where(or_(named, Account.sub == part))
        if after is not None:
            found = found.where(Account.name > after)
        return (await work.scalars(found)).all()

    async def need(self, work: AsyncSession, name: str) -> Account:
        """The account of this name.

        Raises:
            UnknownAccountError
        """
        account = await _named(work, name)
        if account is None:
            raise UnknownAccountError(name)
        return account

    async def of_subject(self, work: AsyncSession, sub: str) -> Account | None:
        return await work.get(Account, sub) if _PART.fullmatch(sub) else None

    async def change_password(self, asker: Asker, name: str, password: str) -> None:
        """Void every session and token that the account has, and the old password."""
        password_hash = await self._passwords.hash(password)
        await self._end_all(asker, What.CHANGE_PASSWORD, name, password_hash=password_hash)

    async def change_roles(self, asker: Asker, name: str, roles: Iterable[str]) -> None:
        """Void every session and token that the account has; new ones have the new roles."""
        given = sorted(set(roles))
        await self._end_all(asker, What.CHANGE_ROLES, name, why=" ".join(given), roles=given)

    async def disable(self, asker: Asker, name: str) -> None:
        """Void every session and token that the account has, and let it have no more."""
        await self._end_all(asker, What.DISABLE, name, enabled=False)

    async def end_sessions(self, asker: Asker, name: str) -> None:
        """Void every session and token that the account has; it may sign in again."""
        await self._end_all(asker, What.REVOKE_USER, name)

    async def void(self, act: Act, name: str) -> None:
        """The same, as part of an act.

        Raises:
            UnknownAccountError
        """
        await self._void(act, await self._held(act, name))

    async def enable(self, asker: Asker, name: str) -> None:
        async with self._acts.of(asker, What.ENABLE) as act:
            account = await self._held(act, name)
            account.enabled = True

    async def rehash(self, account: Account, password: str) -> None:
        """Keep the same password under today's cost, unless it has changed meanwhile."""
        if not needs_rehash(account.password_hash):
            return
        rehash = (
            update(Account)
            .where(Account.sub == account.sub, Account.password_hash == account.password_hash)
            .values(password_hash=await self._passwords.hash(password))
        )
        async with self._database.transaction() as work:
            await work.execute(rehash)

    async def _end_all(
        self, asker: Asker, what: What, name: str, *, why: str | None = None, **changed: object
    ) -> None:
        async with self._acts.of(asker, what) as act:
            account = await self._held(act, name)
            act.entry.why = why
            for attribute, value in changed.items():
                setattr(account, attribute, value)
            await self._void(act, account)

    async def _void(self, act: Act, account: Account) -> None:
        account.epoch += 1
        why = act.entry.what.value
        await self._revocations.revoke_subject(act.work, account.sub, account.epoch, why)

    async def _held(self, act: Act, name: str) -> Account:
        account = await self.hold(act, name)
        if account is None:
            raise UnknownAccountError(name)
        act.entry.whom = account.sub
        return account


async def _named(work: AsyncSession, name: str, *, lock: bool = False) -> Account | None:
    if _NAME.fullmatch(name) is None:  # no such name can be stored; PostgreSQL rejects a NUL
        return None
    named = select(Account).where(Account.name == name)
    return await work.scalar(named.with_for_update() if lock else named)


def _values(account: Account) -> dict[str, object]:
    columns = Account.metadata.tables[Account.__tablename__].columns
    return {column.name: getattr(account, column.name) for column in columns}
