"""Signing in: name, password, and whether its answer may be told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from messaging.rpc import Refused
from services.contracts.users import SignIn
from services.users.accounts import Accounts
from services.users.acts import Act, Acts, Asker
from services.users.attempts import Attempt, Attempts, Verdict
from services.users.audit import What
from services.users.sessions import Opened, Sessions
from services.users.store import Account


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who wants to sign in, and where from."""

    name: str
    password: str = field(repr=False)
    origin: str | None


class SignIns:
    def __init__(
        self, acts: Acts, accounts: Accounts, attempts: Attempts, sessions: Sessions
    ) -> None:
        self._acts = acts
        self._accounts = accounts
        self._attempts = attempts
        self._sessions = sessions

    async def open(self, asker: Asker, request: SignIn, client_id: str) -> Opened:
        """Open a session through this client.

        Raises:
            Refused: `invalid_credentials`.
        """
        credentials = Credentials(request.name, request.password, request.origin)
        async with self.admitted(asker, What.SIGN_IN, credentials) as (act, account):
            return await self._sessions.open(act, account, client_id)

    @asynccontextmanager
    async def admitted(
        self, asker: Asker, what: What, credentials: Credentials
    ) -> AsyncIterator[tuple[Act, Account]]:
        """An act of somebody's who has signed in, and the account, which the act holds.

        Unknown name, wrong password, disabled account and too many failures before get the same
        answer after the same work; why it really was stands in the audit log.

        Raises:
            Refused: `invalid_credentials`.
        """
        found = await self._accounts.authenticate(credentials.name, credentials.password)
        async with self._acts.of(asker, what, origin=credentials.origin) as act:
            account = await self._accounts.hold(act, credentials.name)
            wrong = _what_is_wrong(account, found)
            attempt = Attempt(credentials.name, account.sub if account else None, act.entry.origin)
            verdict = await self._attempts.judge(act.work, attempt, genuine=wrong is None)
            act.entry.whom = attempt.sub
            if account is None or verdict is not Verdict.ADMITTED:
                act.entry.why = "locked" if verdict is Verdict.LOCKED else wrong
                raise Refused("invalid_credentials", "name or password is wrong")
            act.entry.who = account.sub
            yield act, account
        await self._accounts.rehash(account, credentials.password)


def _what_is_wrong(account: Account | None, found: Account | None) -> str | None:
    """Why this is no sign-in, if so; `found` was right about a moment ago."""
    if account is None:
        return "unknown_name"
    if found is None or found.epoch != account.epoch:  # not the hash: a sign-in may renew it
        return "wrong_password"
    return None if account.enabled else "disabled"
