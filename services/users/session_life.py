"""How long a session lasts: the rule, for one session and as a condition for the database."""

import math
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_

from services.users.settings import SESSION_IDLE, SESSION_LIFE
from services.users.store import Account, Session


@dataclass(frozen=True, slots=True)
class SessionLife:
    """How long a session lasts at most, and how long without a refresh."""

    absolute: timedelta = SESSION_LIFE
    idle: timedelta = SESSION_IDLE

    def ends_at(self, session: Session) -> int:
        """When it ends by itself, unless it is refreshed before."""
        return int(
            min(
                session.created_at + self.absolute.total_seconds(),
                session.used_at + self.idle.total_seconds(),
            )
        )

    def is_live(self, session: Session, account: Account, now: int) -> bool:
        return (
            session.ended_at is None
            and account.enabled
            and session.epoch == account.epoch
            and now < session.created_at + self.absolute.total_seconds()
            and now < session.used_at + self.idle.total_seconds()
        )

    def live(self, now: int) -> ColumnElement[bool]:
        """The same, as a condition on sessions that are joined with their accounts."""
        return and_(
            Session.ended_at.is_(None),
            Account.enabled.is_(True),
            Session.epoch == Account.epoch,
            Session.created_at > math.floor(now - self.absolute.total_seconds()),
            Session.used_at > math.floor(now - self.idle.total_seconds()),
        )
