"""The sessions of an account, as an operator sees them."""

from collections.abc import Callable, Iterable

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.contracts.administration import MAX_PAGE, SessionView
from services.users.session_life import SessionLife
from services.users.store import Account, Session


class SessionList:
    def __init__(self, life: SessionLife, clock: Callable[[], float]) -> None:
        self._life = life
        self._clock = clock

    async def of(self, work: AsyncSession, account: Account) -> list[SessionView]:
        """The account's sessions that are not forgotten yet, the latest first; 100 at most."""
        found = await work.scalars(
            select(Session)
            .where(Session.sub == account.sub)
            .order_by(Session.created_at.desc(), Session.sid)
            .limit(MAX_PAGE)
        )
        now = int(self._clock())
        return [self._view(session, account, now) for session in found]

    async def count_live(self, work: AsyncSession, accounts: Iterable[Account]) -> dict[str, int]:
        """How many live sessions each account has, by its `sub`; who has none is not named."""
        subs = [account.sub for account in accounts]
        counted = (
            select(Session.sub, func.count())
            .join(Account)
            .where(Session.sub.in_(subs), self._life.live(int(self._clock())))
            .group_by(Session.sub)
        )
        return {row[0]: row[1] for row in await work.execute(counted)}

    def _view(self, session: Session, account: Account, now: int) -> SessionView:
        return SessionView(
            sid=session.sid,
            client_id=session.client_id,
            created_at=session.created_at,
            used_at=session.used_at,
            expires_at=self._life.ends_at(session),
            live=self._life.is_live(session, account, now),
            ended_at=session.ended_at,
            ended_why=session.ended_why,
            scope=session.scope,
        )
