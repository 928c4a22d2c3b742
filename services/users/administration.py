"""What operators see and change at the user service, each by their own access token.

Whoever relays the requests has no say in it: every token is judged here, and so is its session.
What is only looked at leaves no entry in the audit log; all else does, also where it is refused.
"""

from dataclasses import asdict

from messaging.database import Database
from messaging.rpc import Caller, Refused
from services.contracts.administration import (
    AccountsPage,
    AccountView,
    AuditPage,
    AuditView,
    EndSession,
    EndSessions,
    FindAccounts,
    FindSessions,
    GetIssuerKeys,
    IssuerKeyChanged,
    IssuerKeysPage,
    IssuerKeyView,
    ReadAudit,
    RetireIssuerKey,
    RotateIssuerKey,
    SessionEnded,
    SessionsEnded,
    SessionsPage,
)
from services.contracts.scopes import KEYS_ROTATE, OPERATIONS_READ, SESSIONS_REVOKE
from services.users.accounts import Accounts
from services.users.acts import Acts, Asker
from services.users.audit import What
from services.users.audit_search import Sought, look_up
from services.users.operators import Operators
from services.users.rotation import BY_HAND, Rotation
from services.users.session_list import SessionList
from services.users.sessions import Ended, Sessions


class Administration:
    """The answers to `services.contracts.administration`.

    Raises, all of it:
        Refused: `invalid_grant`, `insufficient_scope`, and what the request's contract names.
        TrustUnavailableError, DatabaseUnavailableError: nothing can be judged now.
    """

    def __init__(
        self,
        *,
        database: Database,
        acts: Acts,
        operators: Operators,
        accounts: Accounts,
        sessions: Sessions,
        session_list: SessionList,
        rotation: Rotation,
    ) -> None:
        self._database = database
        self._acts = acts
        self._operators = operators
        self._accounts = accounts
        self._sessions = sessions
        self._session_list = session_list
        self._rotation = rotation

    async def find_accounts(self, request: FindAccounts, caller: Caller) -> AccountsPage:
        async with self._database.session() as work:
            await self._operators.looking(
                work, request.access_token, caller.client, OPERATIONS_READ
            )
            found = await self._accounts.page(
                work, search=request.search, after=request.after, limit=request.limit + 1
            )
            accounts = found[: request.limit]
            live = await self._session_list.count_live(work, accounts)
        return AccountsPage(
            accounts=tuple(
                AccountView(
                    sub=account.sub,
                    name=account.name,
                    roles=tuple(account.roles),
                    enabled=account.enabled,
                    created_at=account.created_at,
                    sessions=live.get(account.sub, 0),
                )
                for account in accounts
            ),
            next=accounts[-1].name if len(found) > len(accounts) else None,
        )

    async def find_sessions(self, request: FindSessions, caller: Caller) -> SessionsPage:
        async with self._database.session() as work:
            await self._operators.looking(
                work, request.access_token, caller.client, OPERATIONS_READ
            )
            account = await self._accounts.of_subject(work, request.sub)
            if account is None:
                raise Refused("unknown_account", "there is no account with this subject")
            found = await self._session_list.of(work, account)
        return SessionsPage(sessions=tuple(found))

    async def end_session(self, request: EndSession, caller: Caller) -> SessionEnded:
        async with self._acts.of(Asker.of(caller), What.REVOKE_SESSION) as act:
            operator = await self._operators.acting(
                act, request.access_token, caller.client, SESSIONS_REVOKE
            )
            # From here on the entry's session is the one that ends, as in every such entry.
            await self._sessions.end(act, request.sid, Ended.REVOKED)
            act.entry.why = f"by session {operator.sid}"
        return SessionEnded(sid=request.sid)

    async def end_sessions(self, request: EndSessions, caller: Caller) -> SessionsEnded:
        async with self._acts.of(Asker.of(caller), What.REVOKE_USER) as act:
            await self._operators.acting(act, request.access_token, caller.client, SESSIONS_REVOKE)
            await self._accounts.void(act, request.name)
        return SessionsEnded(name=request.name)

    async def issuer_keys(self, request: GetIssuerKeys, caller: Caller) -> IssuerKeysPage:
        async with self._database.session() as work:
            await self._operators.looking(
                work, request.access_token, caller.client, OPERATIONS_READ
            )
        keys = await self._rotation.view()
        return IssuerKeysPage(keys=tuple(IssuerKeyView(**asdict(key)) for key in keys))

    async def rotate_key(self, request: RotateIssuerKey, caller: Caller) -> IssuerKeyChanged:
        async with self._acts.of(Asker.of(caller), What.ROTATE_KEY) as act:
            await self._operators.acting(act, request.access_token, caller.client, KEYS_ROTATE)
            kid = await self._rotation.rotate(act, why=BY_HAND, instead_of=request.instead_of)
        return IssuerKeyChanged(kid=kid)

    async def retire_key(self, request: RetireIssuerKey, caller: Caller) -> IssuerKeyChanged:
        async with self._acts.of(Asker.of(caller), What.RETIRE_KEY) as act:
            await self._operators.acting(act, request.access_token, caller.client, KEYS_ROTATE)
            kid = await self._rotation.retire(act, request.kid)
        return IssuerKeyChanged(kid=kid)

    async def read_audit(self, request: ReadAudit, caller: Caller) -> AuditPage:
        sought = Sought(request.what, request.outcome, request.about)
        async with self._database.session() as work:
            await self._operators.looking(
                work, request.access_token, caller.client, OPERATIONS_READ
            )
            part = await look_up(work, sought, before=request.before, limit=request.limit)
        entries = tuple(AuditView(**entry) for entry in part.entries)
        return AuditPage(entries=entries, next=part.before)
