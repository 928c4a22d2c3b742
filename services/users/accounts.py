"""Accounts: who may sign in, with which roles."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth.passwords import needs_rehash
from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.users import NAME_PATTERN
from services.users.passwords import Passwords
from services.users.store import Account

_NAME: Final = re.compile(NAME_PATTERN)


class NameTakenError(Refused):
    def __init__(self) -> None:
        super().__init__("name_taken", "this name is taken")


class UnknownAccountError(Refused):
    def __init__(self, name: str) -> None:
        super().__init__("unknown_account", f"there is no account named {name!r}")


class Accounts:
    def __init__(
        self, database: Database, passwords: Passwords, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock

    async def add(self, name: str, password: str, roles: Iterable[str]) -> Account:
        """Raises NameTakenError, also to the slower of two at once."""
        async with self._database.session() as work:
            if await _named(work, name):
                raise NameTakenError
        account = Account(
            sub=str(uuid4()),
            name=name,
            password_hash=await self._passwords.hash(password),
            roles=sorted(set(roles)),
            epoch=1,
            enabled=True,
            created_at=int(self._clock()),
        )
        try:
            async with self._database.transaction() as work:
                work.add(account)
        except IntegrityError as error:
            raise NameTakenError from error
        return account

    async def authenticate(self, name: str, password: str) -> Account | None:
        """The account whose name and password these are, unless it is disabled.

        An unknown name, a wrong password and a disabled account cost the same time.
        """
        account = await self.find(name)
        stored = None if account is None else account.password_hash
        genuine = await self._passwords.verify(stored, password)
        if account is None or not genuine or not account.enabled:
            return None
        if needs_rehash(account.password_hash):
            await self._rehash(account, password)
        return account

    async def find(self, name: str) -> Account | None:
        if _NAME.fullmatch(name) is None:  # no such name can be stored; PostgreSQL rejects a NUL
            return None
        async with self._database.session() as work:
            return await _named(work, name)

    async def list(self) -> Sequence[Account]:
        async with self._database.session() as work:
            return (await work.scalars(select(Account).order_by(Account.name))).all()

    async def change_password(self, name: str, password: str) -> None:
        """Void every session and token that the account has, and the old password."""
        await self._change(name, password_hash=await self._passwords.hash(password))

    async def change_roles(self, name: str, roles: Iterable[str]) -> None:
        await self._change(name, roles=sorted(set(roles)))

    async def enable(self, name: str) -> None:
        await self._change(name, enabled=True)

    async def disable(self, name: str) -> None:
        """End the account's access: nothing that it has is renewed or exchanged again."""
        await self._change(name, enabled=False)

    async def _change(self, name: str, **values: object) -> None:
        change = (
            update(Account)
            .where(Account.name == name)
            .values(**values, epoch=Account.epoch + 1)
            .returning(Account.sub)
        )
        async with self._database.transaction() as work:
            if await work.scalar(change) is None:
                raise UnknownAccountError(name)

    async def _rehash(self, account: Account, password: str) -> None:
        """Keep the same password under today's cost, unless it has changed meanwhile."""
        rehash = (
            update(Account)
            .where(Account.sub == account.sub, Account.password_hash == account.password_hash)
            .values(password_hash=await self._passwords.hash(password))
        )
        async with self._database.transaction() as work:
            await work.execute(rehash)


async def _named(work: AsyncSession, name: str) -> Account | None:
    return await work.scalar(select(Account).where(Account.name == name))
