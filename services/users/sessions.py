"""Sessions: what a sign-in opens, refresh tokens continue, and reuse or sign-out ends."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import join_scope, split_scope
from auth.tokens import AccessClaims
from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.authorization import DescribedSession
from services.contracts.scopes import ROLES
from services.users.acts import Act
from services.users.revocations import Revocations
from services.users.scope import Roles, asked_scope, scopes_of
from services.users.session_life import SessionLife
from services.users.store import Account, RefreshToken, Session


class Ended(StrEnum):
    """Why a session has ended."""

    SIGNED_OUT = "signed_out"
    REUSED = "refresh_token_reused"
    CODE_REUSED = "code_reused"
    REVOKED = "revoked"


class UnknownSessionError(Refused):
    def __init__(self, sid: str) -> None:
        super().__init__("unknown_session", f"there is no session {sid!r}")


@dataclass(frozen=True, slots=True)
class Opened:
    """A live session, what it may do, and the refresh token that continues it."""

    session: Session
    scopes: frozenset[str]
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Continuing:
    """What a refresh token belongs to, and whether it could be used now."""

    session: Session
    scopes: frozenset[str]
    live: bool
    expires_at: int


class Sessions:
    def __init__(
        self,
        database: Database,
        revocations: Revocations,
        clock: Callable[[], float],
        life: SessionLife,
        roles: Roles = ROLES,
    ) -> None:
        self._database = database
        self._revocations = revocations
        self._clock = clock
        self._life = life
        self._roles = roles

    def scopes_of(self, account: Account) -> frozenset[str]:
        """What the account may do now."""
        return scopes_of(account, self._roles)

    def _allowed(self, session: Session, account: Account) -> frozenset[str]:
        """What tokens of the session may do: what its user may, as far as the client was let."""
        scopes = self.scopes_of(account)
        return scopes if session.scope is None else scopes & split_scope(session.scope)

    async def open(self, act: Act, account: Account, client_id: str) -> Opened:
        """Open a session of an account whose row the act holds."""
        session = await self.begin(act, account, client_id, None)
        return Opened(session, self.scopes_of(account), _new_refresh_token(act, session))

    async def begin(self, act: Act, account: Account, client_id: str, scope: str | None) -> Session:
        """Begin a session of an account whose row the act holds; there is no token of it yet.

        scope: what the user lets the client have; None for all that the account may do.

        Raises:
            Refused: `invalid_scope`: the account may do nothing of it.
        """
        session = Session(
            sid=str(uuid4()),
            sub=account.sub,
            client_id=client_id,
            epoch=account.epoch,
            created_at=act.now,
            used_at=act.now,
            scope=scope,
        )
        if scope is not None and not self._allowed(session, account):
            raise Refused("invalid_scope", "this account may do nothing of what is asked for")
        act.entry.session = session.sid
        act.work.add(session)
        await act.work.flush()  # a foreign key needs the session to be there
        return session

    async def first(self, act: Act, session: Session) -> Opened | None:
        """The first tokens of a session that has begun; None where it has ended meanwhile."""
        account = await act.work.get_one(Account, session.sub)
        if not self._life.is_live(session, account, act.now):
            return None
        session.used_at = act.now
        return Opened(session, self._allowed(session, account), _new_refresh_token(act, session))

    async def refresh(
        self, act: Act, unverified_token: str, client_id: str, unverified_scope: str | None = None
    ) -> Opened | None:
        """Spend the token for a new one; None where it is no good (any more).

        A token that was spent before has been stolen, or its thief was faster: the session ends
        (RFC 9700 §4.14.2). Of two who use one token at once exactly one is served.

        Raises:
            Refused: `invalid_scope`; the token is not spent.
        """
        # The rows are locked (SQLite: the whole database is), so the second of two waits here
        # and then reads what the first has written.
        found = await self._of_token(act.work, unverified_token, lock=True)
        if found is None or found.session.client_id != client_id:
            return None
        token, session, account = found.token, found.session, found.account
        act.entry.whom, act.entry.session = session.sub, session.sid
        if token.spent_at is not None:
            act.entry.why = Ended.REUSED
            await self._end(act, session, Ended.REUSED)
            return None
        if not self._life.is_live(session, account, act.now):
            return None
        # "The requested scope MUST NOT include any scope not originally granted" (RFC 6749 §6).
        scopes = asked_scope(unverified_scope, self._allowed(session, account))
        token.spent_at = session.used_at = act.now
        return Opened(session, scopes, _new_refresh_token(act, session))

    async def describe(self, access: AccessClaims) -> DescribedSession:
        """The session of an access token that is good.

        Raises:
            Refused: `invalid_grant`: there is none, or it has ended.
        """
        async with self._database.session() as work:
            sid = access.sid or ""
            account = await self.find_live(work, sid, access.sub, access.epoch)
            session = await work.get(Session, sid)
        if account is None or session is None:
            raise Refused("invalid_grant", "the session has ended")
        return DescribedSession(
            sid=session.sid,
            sub=account.sub,
            name=account.name,
            roles=tuple(account.roles),
            client_id=session.client_id,
            scope=join_scope(access.scopes & self._allowed(session, account)),
            since=session.created_at,
        )

    async def find_live(self, work: AsyncSession, sid: str, sub: str, epoch: int) -> Account | None:
        """Whose session it is, if it is live and a token of this epoch may still speak for it."""
        found = select(Session, Account).join(Account).where(Session.sid == sid)
        row = (await work.execute(found)).one_or_none()
        if row is None:
            return None
        session, account = row
        if account.sub != sub or account.epoch != epoch:
            return None
        return account if self._life.is_live(session, account, int(self._clock())) else None

    async def find(self, work: AsyncSession, sid: str) -> Session | None:
        """The session, live or not; its row is held until the transaction ends."""
        if not sid.isprintable():  # there is none such; PostgreSQL rejects a NUL
            return None
        return await work.get(Session, sid, with_for_update=True)

    async def find_refreshable(
        self, work: AsyncSession, unverified_token: str
    ) -> Continuing | None:
        """What a refresh token would continue, if it is known at all."""
        found = await self._of_token(work, unverified_token, lock=False)
        if found is None:
            return None
        live = found.token.spent_at is None and self._life.is_live(
            found.session, found.account, int(self._clock())
        )
        scopes = self._allowed(found.session, found.account)
        return Continuing(found.session, scopes, live, self._life.ends_at(found.session))

    async def end(self, act: Act, sid: str, why: Ended) -> None:
        """End the session, and void its tokens.

        One that has ended before keeps its first reason.

        Raises:
            UnknownSessionError: there is none, or none any more.
        """
        session = await self.find(act.work, sid)
        if session is None:
            raise UnknownSessionError(sid)
        act.entry.whom, act.entry.session = session.sub, sid
        await self._end(act, session, why)

    async def end_of_client(self, act: Act, client_id: str, why: Ended) -> int:
        """End all sessions that users have with a client; how many there were."""
        live = select(Session).where(Session.client_id == client_id, Session.ended_at.is_(None))
        sessions = (await act.work.scalars(live.with_for_update())).all()
        for session in sessions:
            await self._end(act, session, why)
        return len(sessions)

    async def prune(self) -> None:
        """Delete what is past its absolute life, with its refresh tokens."""
        before = int(self._clock() - self._life.absolute.total_seconds())
        async with self._database.transaction() as work:
            await work.execute(delete(Session).where(Session.created_at < before))

    async def _of_token(
        self, work: AsyncSession, unverified_token: str, *, lock: bool
    ) -> "_Found | None":
        found = (
            select(RefreshToken, Session, Account)
            .join(Session, RefreshToken.sid == Session.sid)
            .join(Account, Session.sub == Account.sub)
            .where(RefreshToken.digest == digest_of(unverified_token))
        )
        if lock:
            found = found.with_for_update(of=[RefreshToken, Session])
        row = (await work.execute(found)).one_or_none()
        return None if row is None else _Found(*row)

    async def _end(self, act: Act, session: Session, why: Ended) -> None:
        if session.ended_at is None:
            session.ended_at, session.ended_why = act.now, why
            await self._revocations.revoke_session(act.work, session.sid, why)


@dataclass(frozen=True, slots=True)
class _Found:
    token: RefreshToken
    session: Session
    account: Account


def _new_refresh_token(act: Act, session: Session) -> str:
    token = secrets.token_urlsafe(32)
    act.work.add(RefreshToken(digest=digest_of(token), sid=session.sid, issued_at=act.now))
    return token


def digest_of(token: str) -> str:
    """What is kept of a token or code that only its holder can show."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
