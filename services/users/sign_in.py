"""Signing in: name, password, and whether its answer may be told."""

from messaging.rpc import Refused
from services.contracts.users import SignIn
from services.users.accounts import Accounts
from services.users.acts import Acts, Asker
from services.users.attempts import Attempt, Attempts, Verdict
from services.users.audit import What
from services.users.sessions import Opened, Sessions
from services.users.store import Account


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

        Unknown name, wrong password, disabled account and too many failures before get the same
        answer after the same work; why it really was stands in the audit log.

        Raises:
            Refused: `invalid_credentials`.
        """
        found = await self._accounts.authenticate(request.name, request.password)
        async with self._acts.of(asker, What.SIGN_IN, origin=request.origin) as act:
            account = await self._accounts.hold(act, request.name)
            wrong = _what_is_wrong(account, found)
            attempt = Attempt(request.name, account.sub if account else None, act.entry.origin)
            verdict = await self._attempts.judge(act.work, attempt, genuine=wrong is None)
            act.entry.whom = attempt.sub
            if account is None or verdict is not Verdict.ADMITTED:
                act.entry.why = "locked" if verdict is Verdict.LOCKED else wrong
                raise Refused("invalid_credentials", "name or password is wrong")
            act.entry.who = account.sub
            opened = await self._sessions.open(act, account, client_id)
        await self._accounts.rehash(account, request.password)
        return opened


def _what_is_wrong(account: Account | None, found: Account | None) -> str | None:
    """Why this is no sign-in, if so; `found` was right about a moment ago."""
    if account is None:
        return "unknown_name"
    if found is None or found.epoch != account.epoch:  # not the hash: a sign-in may renew it
        return "wrong_password"
    return None if account.enabled else "disabled"
