"""The trust feed as one relying party holds it: what it has heard, and whether that is enough.

It decides; `messaging.trust` carries. Statements may come from anywhere, twice, late, or forged:
only what an issuer's key of the present key set signed counts, and only forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from auth import jws, statements
from auth.checks import check_signing_time
from auth.claims import LEEWAY
from auth.errors import (
    Code,
    KeySetError,
    TrustUnavailableError,
    UntrustedTokenError,
)
from auth.keyset import KeySet, TrustRoot
from auth.revocation import RevocationList
from auth.statements import (
    HEARTBEAT,
    MAX_PAGE,
    MAX_STATEMENT,
    REVOCATION,
    SNAPSHOT,
    HeartbeatClaims,
    Revocation,
    RevocationClaims,
    SnapshotClaims,
)
from auth.strict import UnverifiedToken, parse_token

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SILENCE: Final = 10.0
"""Seconds without a new heartbeat or snapshot after which nothing may be judged."""

GAP: Final = 1.0
"""Seconds for which a missing revocation may still be on its way before it is fetched."""

Statement = TypeVar("Statement", RevocationClaims, HeartbeatClaims, SnapshotClaims)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a relying party must fetch to be complete.

    revocations: those with a number above this one; None where none is missing.
    key_set: whether a newer statement has been announced.
    """

    revocations: int | None
    key_set: bool

    def __bool__(self) -> bool:
        return self.revocations is not None or self.key_set


class Feed:
    """A `TrustSource` that follows the issuer. Times: `now` since the epoch; `ticks` monotonic."""

    def __init__(
        self, root: TrustRoot, key_set: KeySet, *, max_silence: float = MAX_SILENCE
    ) -> None:
        """Start from a key set that the root signed; nothing may be judged before `complete`.

        max_silence: seconds.
        """
        self._root = root
        self.key_set = key_set
        self.revocations = RevocationList()
        self._max_silence = max_silence
        self._feed: str | None = None
        self._applied = -1  # no snapshot yet
        self._ahead: set[int] = set()  # heard of, with an earlier one missing
        self._latest = 0
        self._resync = True
        self._newest_version = key_set.version
        self._outdated = True  # not yet known to hold the newest key set
        self._behind_since: float | None = None
        self._beat: tuple[int, int] = (0, 0)
        self._heard_at: float | None = None
        self._lost_at = -math.inf
        self._clocks_apart = 0.0  # wall clock less monotonic clock, when last heard
        self._gap_since: float | None = None
        self._listeners: list[Callable[[Revocation], None]] = []

    def on_revoked(self, listener: Callable[[Revocation], None]) -> None:
        """Have each revocation told to `listener` once it is in force; perhaps more than once.

        listener: may not raise, and takes a moment at most: nothing is judged meanwhile.
        """
        self._listeners.append(listener)

    @property
    def applied(self) -> int:
        """Number of the last revocation up to which none is missing; -1 before a snapshot."""
        return self._applied

    @property
    def heard_at(self) -> float | None:
        """When a heartbeat or snapshot last counted, by the monotonic clock; None before any."""
        return self._heard_at

    def require_fresh(self, now: float, ticks: float) -> None:
        """Raise unless what is held may be judged by.

        Raises:
            TrustUnavailableError: no snapshot yet, silence, a revocation or the newest key set
                missing for too long, our clock jumped since it was last heard, or the key set
                statement expired.
        """
        self.key_set.require_current(now)
        if self._resync or self._heard_at is None:
            raise TrustUnavailableError("the trust feed is not complete yet")
        if ticks - self._heard_at > self._max_silence:
            raise TrustUnavailableError("the trust feed is silent")
        if abs(now - ticks - self._clocks_apart) > LEEWAY:
            # No message is to blame for it; the next heartbeats tell whether it is right now.
            raise TrustUnavailableError("our clock has jumped")
        if self._gap_since is not None and ticks - self._gap_since > self._max_silence:
            raise TrustUnavailableError("a revocation is missing")
        # A key that is withdrawn already may have sealed what waits: at the start, and for longer
        # than a statement may be on its way, the set that was replaced proves nothing.
        if self._outdated or (
            self._behind_since is not None and ticks - self._behind_since > self._max_silence
        ):
            raise TrustUnavailableError("a newer key set statement is missing")

    def hear(self, unverified_statement: str, *, now: float, ticks: float) -> None:
        """Take in what came over the feed: key set, revocation, many of them, or heartbeat.

        Raises:
            RefusalError: not the issuer's, or of another kind; nothing has changed.
            KeySetError: a key set statement that is not to be believed; nothing has changed.
        """
        token = parse_token(unverified_statement, limit=MAX_STATEMENT)
        match token.unverified_header["typ"]:
            case jws.KEY_SET:
                self.adopt(unverified_statement, now=now, ticks=ticks)
            case statements.HEARTBEAT:
                self._take_heartbeat(token, now=now, ticks=ticks)
            case statements.SNAPSHOT:
                self._take_many(token, now=now, ticks=ticks)
            case _:
                self._take_revocation(token, now=now, ticks=ticks)

    def adopt(self, unverified_statement: str, *, now: float, ticks: float) -> bool:
        """Take in a key set statement; whether it is newer than the one held.

        Where a key of the issuer was withdrawn, nothing that was told counts any more, since its
        thief may have told it: revocations are asked for anew, and until then nothing is judged.

        Raises:
            KeySetError: not to be believed, older, or another of the same version.
        """
        offered = self._root.verify(unverified_statement, now=now)
        if not offered.supersedes(self.key_set):
            return False
        if offered.issuer != self.key_set.issuer:
            raise KeySetError("the statement names another issuer")
        withdrawn = self.key_set.issuer_keys.keys() - offered.issuer_keys.keys()
        self.key_set = offered
        if withdrawn:
            self.revocations = RevocationList()
            self._newest_version = offered.version
            self._restart()
            self._lost_at = ticks
        if self._newest_version <= offered.version:
            self._behind_since = None
            self._outdated = self._outdated and self._resync
        return True

    def take_snapshot(self, unverified_snapshot: str, *, now: float, ticks: float) -> bool:
        """Take in one page; whether another one is wanted.

        The last one counts as a heartbeat: it was signed after we had asked, and says no less.

        now, ticks: when it was asked for, since it may have been held back from then on.

        Raises:
            RefusalError: not the issuer's, or not the page that was asked for.
        """
        token = parse_token(unverified_snapshot, limit=MAX_STATEMENT)
        page = self._verify(token, SNAPSHOT, SnapshotClaims)
        if abs(page.iat - now) > LEEWAY:
            raise UntrustedTokenError(Code.TOO_OLD, "a snapshot of another time")
        if self._feed is not None and page.feed != self._feed:
            self._restart()
        if page.after > max(self._applied, 0):
            raise UntrustedTokenError(Code.SEAL_MISMATCH, "a page that leaves others out")
        self._feed = page.feed
        for entry in page.entries:
            self._revoke(entry)
        self._applied = max(self._applied, page.upto)
        self._latest = max(self._latest, page.seq)
        # One that was asked for before a loss may be older than what was told, and lost, since.
        since = ticks >= self._lost_at
        self._resync = self._applied < page.seq or not since
        self._close_gap(ticks)
        self._note_version(page.version, ticks)
        if self._behind_since is None and since:
            self._outdated = False
        # One that is older than the last heartbeat was kept by somebody, and proves nothing new.
        newer = self._heard_at is None or ticks > self._heard_at
        if not self._resync and newer and (page.iat, page.seq) >= self._beat:
            self._heard(now, ticks)
        return self._resync

    def lose_track(self, ticks: float) -> None:
        """The connection was lost, and what was told meanwhile: judge nothing before it is had.

        ticks: when we listened again. Only what is asked for from then on has all of it.
        """
        self._resync = self._outdated = True
        self._lost_at = ticks

    def wanted(self, ticks: float) -> Wanted:
        """What is to be fetched now."""
        overdue = self._gap_since is not None and ticks - self._gap_since >= GAP
        missing = self._resync or overdue
        return Wanted(
            revocations=max(self._applied, 0) if missing else None,
            key_set=self._newest_version > self.key_set.version,
        )

    def _take_heartbeat(self, token: UnverifiedToken, *, now: float, ticks: float) -> None:
        beat = self._verify(token, HEARTBEAT, HeartbeatClaims)
        if abs(beat.iat - now) > LEEWAY:
            raise UntrustedTokenError(Code.TOO_OLD, "a heartbeat of another time")
        if self._feed is not None and beat.feed != self._feed:
            self._restart()
        if (beat.iat, beat.seq) <= self._beat or beat.seq < self._beat[1]:
            raise UntrustedTokenError(Code.TOO_OLD, "a heartbeat that was heard before")
        was_silent = self._heard_at is not None and ticks - self._heard_at > self._max_silence
        self._feed = beat.feed
        self._beat = (beat.iat, beat.seq)
        self._heard(now, ticks)
        self._latest = max(self._latest, beat.seq)
        self._close_gap(ticks)
        self._note_version(beat.version, ticks)
        if was_silent:
            # What this one names and we lack is lost, not on its way: it is had before we judge on.
            self._resync = self._resync or self._gap_since is not None
            self._outdated = self._outdated or self._behind_since is not None

    def _heard(self, now: float, ticks: float) -> None:
        """All that the issuer told up to here is known, or known to be missing."""
        self._heard_at = ticks
        self._clocks_apart = now - ticks

    def _take_revocation(self, token: UnverifiedToken, *, now: float, ticks: float) -> None:
        revoked = self._verify(token, REVOCATION, RevocationClaims)
        if abs(revoked.iat - now) > LEEWAY:  # who holds a retired key could date it back
            raise UntrustedTokenError(Code.TOO_OLD, "a revocation of another time")
        if revoked.feed != self._feed:
            return  # the snapshot of that feed will have it
        self._revoke(revoked)  # felt at once, also while an earlier one is missing
        self._latest = max(self._latest, revoked.seq)
        if revoked.seq > self._applied and len(self._ahead) < MAX_PAGE:
            self._ahead.add(revoked.seq)
        self._close_gap(ticks)

    def _take_many(self, token: UnverifiedToken, *, now: float, ticks: float) -> None:
        """A page of revocations that was told to all. It is no answer: what we ask for stays so."""
        page = self._verify(token, SNAPSHOT, SnapshotClaims)
        if abs(page.iat - now) > LEEWAY:
            raise UntrustedTokenError(Code.TOO_OLD, "revocations of another time")
        if page.feed != self._feed:
            return
        for entry in page.entries:
            self._revoke(entry)
        self._latest = max(self._latest, page.upto)
        if page.after <= self._applied:
            self._applied = max(self._applied, page.upto)
        self._close_gap(ticks)

    def _revoke(self, revoked: Revocation) -> None:
        if revoked.sid is not None:
            self.revocations.revoke_session(revoked.sid, until=revoked.until)
        if revoked.sub is not None and revoked.epoch is not None:
            self.revocations.revoke_subject(revoked.sub, epoch=revoked.epoch, until=revoked.until)
        for listener in self._listeners:
            listener(revoked)

    def _close_gap(self, ticks: float) -> None:
        """Count on as far as nothing is missing, and note since when something is."""
        while self._applied + 1 in self._ahead:
            self._applied += 1
            self._ahead.discard(self._applied)
        if self._applied >= self._latest:
            self._gap_since = None
            self._ahead.clear()
        elif self._gap_since is None:
            self._gap_since = ticks

    def _note_version(self, announced: int, ticks: float) -> None:
        """Note since when a newer key set than the one held is known to be there."""
        self._newest_version = max(self._newest_version, announced)
        if self._newest_version > self.key_set.version and self._behind_since is None:
            self._behind_since = ticks

    def _restart(self) -> None:
        """The issuer counts anew (its database was made anew). What is revoked stays revoked."""
        self._applied, self._latest, self._beat = -1, 0, (0, 0)
        self._ahead.clear()
        self._gap_since = None
        self._resync = True

    def _verify(self, token: UnverifiedToken, typ: str, kind: type[Statement]) -> Statement:
        jws.check_algorithm(token, typ=typ)
        listed = self.key_set.issuer_keys.get(token.unverified_header["kid"])
        if listed is None:
            raise UntrustedTokenError(Code.UNKNOWN_KEY, "kid is not among the issuer's keys")
        jws.check_key(token, listed.key)
        jws.check_signature(token, listed.key)
        claims = jws.parse_claims(token, kind)
        check_signing_time(listed, claims.iat)
        if claims.iss != self.key_set.issuer:
            raise UntrustedTokenError(Code.WRONG_ISSUER, "iss is not our issuer")
        return claims
