"""Sessions: what a sign-in opens, refresh tokens continue, and reuse or sign-out ends."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from messaging.database import Database
from services.users.scope import asked_scope, scopes_of
from services.users.store import Account, RefreshToken, Session


class Ended(StrEnum):
    """Why a session has ended."""

    SIGNED_OUT = "signed_out"
    REUSED = "refresh_token_reused"


@dataclass(frozen=True, slots=True)
class SessionLife:
    """How long a session lasts at most, and how long without a refresh."""

    absolute: timedelta = timedelta(days=30)
    idle: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Opened:
    """A live session, what it may do, and the refresh token that continues it."""

    session: Session
    scopes: frozenset[str]
    refresh_token: str


class Sessions:
    def __init__(
        self, database: Database, clock: Callable[[], float], life: SessionLife | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._life = life or SessionLife()

    async def open(self, account: Account, client_id: str) -> Opened | None:
        """Open a session; None where the account has changed since it was authenticated."""
        now = int(self._clock())
        async with self._database.transaction() as work:
            current = await work.get(Account, account.sub, with_for_update=True)
            if current is None or not current.enabled or current.epoch != account.epoch:
                return None
            session = Session(
                sid=str(uuid4()),
                sub=current.sub,
                client_id=client_id,
                epoch=current.epoch,
                created_at=now,
                used_at=now,
            )
            work.add(session)
            await work.flush()  # the token's foreign key needs the session to be there
            return Opened(session, scopes_of(current), _new_refresh_token(work, session, now))

    async def refresh(
        self, unverified_token: str, client_id: str, unverified_scope: str | None = None
    ) -> Opened | None:
        """Spend the token for a new one; None where it is no good (any more).

        A token that was spent before has been stolen, or its thief was faster: the session ends
        (RFC 9700 §4.14.2). Of two who use one token at once exactly one is served.

        Raises:
            Refused: `invalid_scope`; the token is not spent.
        """
        now = int(self._clock())
        digest = _digest(unverified_token)
        async with self._database.transaction() as work:
            # The rows are locked (SQLite: the whole database is), so the second of two waits
            # here and then reads what the first has written.
            found = await work.execute(
                select(RefreshToken, Session, Account)
                .join(Session, RefreshToken.sid == Session.sid)
                .join(Account, Session.sub == Account.sub)
                .where(RefreshToken.digest == digest, Session.client_id == client_id)
                .with_for_update(of=[RefreshToken, Session])
            )
            row = found.one_or_none()
            if row is None:
                return None
            token, session, account = row
            if token.spent_at is not None:
                _end(session, Ended.REUSED, now)
                return None
            if not self._is_live(session, account, now):
                return None
            scopes = asked_scope(unverified_scope, scopes_of(account))
            token.spent_at = session.used_at = now
            return Opened(session, scopes, _new_refresh_token(work, session, now))

    async def find_live(self, sid: str, sub: str, epoch: int) -> Account | None:
        """Whose session it is, if it is live and a token of this epoch may still speak for it."""
        found = select(Session, Account).join(Account).where(Session.sid == sid)
        async with self._database.session() as work:
            row = (await work.execute(found)).one_or_none()
        if row is None:
            return None
        session, account = row
        if account.sub != sub or account.epoch != epoch:
            return None
        return account if self._is_live(session, account, int(self._clock())) else None

    async def end(self, sid: str, why: Ended) -> None:
        """End the session; one that has ended before keeps its first reason."""
        async with self._database.transaction() as work:
            session = await work.get(Session, sid, with_for_update=True)
            if session is not None:
                _end(session, why, int(self._clock()))

    async def prune(self) -> None:
        """Delete what is past its absolute life, with its refresh tokens."""
        before = int(self._clock() - self._life.absolute.total_seconds())
        async with self._database.transaction() as work:
            await work.execute(delete(Session).where(Session.created_at < before))

    def _is_live(self, session: Session, account: Account, now: int) -> bool:
        return (
            session.ended_at is None
            and account.enabled
            and session.epoch == account.epoch
            and now < session.created_at + self._life.absolute.total_seconds()
            and now < session.used_at + self._life.idle.total_seconds()
        )


def _new_refresh_token(work: AsyncSession, session: Session, now: int) -> str:
    token = secrets.token_urlsafe(32)
    work.add(RefreshToken(digest=_digest(token), sid=session.sid, issued_at=now))
    return token


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _end(session: Session, why: Ended, now: int) -> None:
    if session.ended_at is None:
        session.ended_at, session.ended_why = now, why
