"""What the issuer tells all relying parties: revocations, heartbeats, snapshots. Signed.

| statement | `typ` | says |
|---|---|---|
| revocation | `secevent+jwt` (RFC 8417) | a session, or a subject up to an epoch, is ended |
| heartbeat | `carnet-heartbeat+jwt` | how far the feed is, and which key set is the newest |
| snapshot | `carnet-snapshot+jwt` | one page of the revocations that are in force |
"""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from auth.claims import Name, NumericDate, Subject, TokenId
from auth.jws import Claims, sign_token
from auth.keys import SigningKey
from auth.tokens import Epoch, SessionId, new_token_id

REVOCATION: Final = "secevent+jwt"
HEARTBEAT: Final = "carnet-heartbeat+jwt"
SNAPSHOT: Final = "carnet-snapshot+jwt"

MAX_PAGE: Final = 1000
"""Revocations in one page of a snapshot."""

MAX_STATEMENT: Final = 256 * 1024
"""Longest statement that is read, in characters."""

REVOKED_EVENT: Final = "urn:carnet:event:access-ended"
"""The event type of a revocation (RFC 8417 §2.2, `events`)."""

Sequence = Annotated[int, Field(ge=0, le=2**53)]
Version = Annotated[int, Field(ge=1, le=2**53)]
FeedId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]


class Revocation(Claims):
    """What was ended, by the number in which it was; kept until nothing is left that it hits.

    sid: a session.   sub, epoch: all of a subject's tokens with a lower epoch.
    """

    seq: Annotated[int, Field(ge=1, le=2**53)]
    until: NumericDate
    sid: SessionId | None = None
    sub: Subject | None = None
    epoch: Epoch | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.sid is None) == (self.sub is None) or (self.sub is None) != (self.epoch is None):
            raise ValueError("a revocation names a session, or a subject with an epoch")
        return self


class _Statement(Claims):
    iss: Name
    iat: NumericDate
    feed: FeedId


class RevocationClaims(_Statement, Revocation):
    """One revocation, as it is told."""

    jti: TokenId


class HeartbeatClaims(_Statement):
    """seq: of the latest revocation.   version: of the newest key set statement."""

    seq: Sequence
    version: Version


class SnapshotClaims(_Statement):
    """The revocations in force with a number above `after`, up to and with `upto`, in order.

    seq: number of the latest revocation; where `upto` is less, another page follows.
    version: of the newest key set statement.
    """

    after: Sequence
    upto: Sequence
    seq: Sequence
    version: Version
    entries: Annotated[list[Revocation], Field(max_length=MAX_PAGE)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        numbers = [self.after, *(entry.seq for entry in self.entries)]
        if sorted(set(numbers)) != numbers or not numbers[-1] <= self.upto <= self.seq:
            raise ValueError("entries must be in order, and between after and upto")
        return self


class Herald:
    """Makes the issuer's statements for one feed."""

    def __init__(self, issuer: str, feed: str) -> None:
        self._issuer = issuer
        self._feed = feed

    def revocation(self, revoked: Revocation, *, key: SigningKey, now: float) -> str:
        return sign_token(
            {
                **self._common(now),
                **revoked.model_dump(exclude_none=True),
                "jti": new_token_id(),
                "events": {REVOKED_EVENT: {}},
            },
            typ=REVOCATION,
            key=key,
        )

    def heartbeat(self, *, seq: int, version: int, key: SigningKey, now: float) -> str:
        return sign_token(
            {**self._common(now), "seq": seq, "version": version}, typ=HEARTBEAT, key=key
        )

    def snapshot(
        self,
        entries: list[Revocation],
        *,
        after: int,
        upto: int,
        seq: int,
        version: int,
        key: SigningKey,
        now: float,
    ) -> str:
        return sign_token(
            {
                **self._common(now),
                "after": after,
                "upto": upto,
                "seq": seq,
                "version": version,
                "entries": [entry.model_dump(exclude_none=True) for entry in entries],
            },
            typ=SNAPSHOT,
            key=key,
        )

    def _common(self, now: float) -> dict[str, str | int]:
        return {"iss": self._issuer, "iat": int(now), "feed": self._feed}
