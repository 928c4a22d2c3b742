"""What was ended before its time: sessions, and subjects up to an epoch."""

from dataclasses import dataclass, field

from auth.errors import Code, RevokedTokenError


@dataclass(slots=True)
class RevocationList:
    """Revocations in force, in memory. Each goes once every token that it hits is gone.

    Its size is bounded by what was revoked within the longest life of a message.
    """

    _sessions: dict[str, int] = field(default_factory=dict)
    _subjects: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._sessions) + len(self._subjects)

    def revoke_session(self, session: str, *, until: int) -> None:
        """Refuse every token of a session, up to `until` (seconds since the epoch)."""
        self._sessions[session] = max(until, self._sessions.get(session, 0))

    def revoke_subject(self, subject: str, *, epoch: int, until: int) -> None:
        """Refuse a subject's tokens of an epoch lower than `epoch`, up to `until`."""
        held_epoch, held_until = self._subjects.get(subject, (0, 0))
        self._subjects[subject] = (max(epoch, held_epoch), max(until, held_until))

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
        self._sessions = {s: until for s, until in self._sessions.items() if until > now}
        self._subjects = {s: entry for s, entry in self._subjects.items() if entry[1] > now}
