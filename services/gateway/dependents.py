"""What depends on a session or a subject, and is found at once when its access is ended."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from auth.statements import Revocation
from auth.tokens import AccessClaims

T = TypeVar("T", bound=Hashable)


class Dependents(Generic[T]):
    """Things, each held by the access token that it was made for.

    A revocation costs as much as it hits, however many others there are.
    """

    def __init__(self) -> None:
        self._claims: dict[T, AccessClaims] = {}
        self._by_session: dict[str, set[T]] = {}
        self._by_subject: dict[str, set[T]] = {}

    def add(self, thing: T, claims: AccessClaims) -> None:
        self._claims[thing] = claims
        self._by_subject.setdefault(claims.sub, set()).add(thing)
        if claims.sid is not None:
            self._by_session.setdefault(claims.sid, set()).add(thing)

    def discard(self, thing: T) -> None:
        claims = self._claims.pop(thing, None)
        if claims is None:
            return
        _remove(self._by_subject, claims.sub, thing)
        if claims.sid is not None:
            _remove(self._by_session, claims.sid, thing)

    def of_subject(self, subject: str) -> list[T]:
        return list(self._by_subject.get(subject, ()))

    def hit_by(self, revoked: Revocation) -> list[T]:
        """Those whose access token is revoked by this."""
        if revoked.sid is not None:
            return list(self._by_session.get(revoked.sid, ()))
        return [
            thing
            for thing in self.of_subject(revoked.sub or "")
            if self._claims[thing].epoch < (revoked.epoch or 0)
        ]

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._claims))


def _remove(index: dict[str, set[T]], key: str, thing: T) -> None:
    index[key].discard(thing)
    if not index[key]:
        del index[key]
