"""What was ended before its time: sessions, and subjects up to an epoch."""

import math
from dataclasses import dataclass, field

from auth.errors import Code, RevokedTokenError


@dataclass(slots=True, eq=False)
class RevocationList:
    """Revocations in force, in memory. Each goes once every token that it hits is gone.

    Its size is bounded by what was revoked within the longest life of a message.
    """

    _sessions: dict[str, int] = field(default_factory=dict)
    _subjects: dict[str, tuple[int, int]] = field(default_factory=dict)
    _due: dict[int, list[str]] = field(default_factory=dict)
    """Whom to look at from which second on, so that to forget takes no look at all the others."""
    changes: int = 0
    """How often something was added."""

    def __len__(self) -> int:
        return len(self._sessions) + len(self._subjects)

    def revoke_session(self, session: str, *, until: int) -> None:
        """Refuse every token of a session, up to `until` (seconds since the epoch)."""
        if until > self._sessions.get(session, 0):
            self.changes += 1
            self._sessions[session] = until
            self._due.setdefault(until, []).append(session)

    def revoke_subject(self, subject: str, *, epoch: int, until: int) -> None:
        """Refuse a subject's tokens of an epoch lower than `epoch`, up to `until`."""
        self.changes += 1
        held_epoch, held_until = self._subjects.get(subject, (0, 0))
        self._subjects[subject] = (max(epoch, held_epoch), max(until, held_until))
        if until > held_until:
            self._due.setdefault(until, []).append(subject)

    def check(self, *, session: str | None, subject: str, epoch: int) -> None:
        """Refuse what was revoked.

        Raises:
            RevokedTokenError: `revoked`.
        """
        if session is not None and session in self._sessions:
            raise RevokedTokenError(Code.REVOKED, "the session was ended")
        revoked = self._subjects.get(subject)
        if revoked is not None and epoch < revoked[0]:
            raise RevokedTokenError(Code.REVOKED, "the subject's access was ended")

    def prune(self, now: float) -> None:
        """Forget what can hit no token any more."""
        for second in [second for second in self._due if second <= now]:
            for name in self._due.pop(second):
                if self._sessions.get(name, math.inf) <= now:
                    del self._sessions[name]
                if self._subjects.get(name, (0, math.inf))[1] <= now:
                    del self._subjects[name]
