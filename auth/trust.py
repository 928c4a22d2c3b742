"""Where a verifier takes its keys and revocations from: a fixed set or a live feed."""

from typing import Protocol

from auth.keyset import KeySet
from auth.revocation import RevocationList


class TrustSource(Protocol):
    """The present key set and revocations, and whether they are fresh enough to judge by."""

    @property
    def key_set(self) -> KeySet: ...

    @property
    def revocations(self) -> RevocationList: ...

    def require_fresh(self, now: float) -> None:
        """Raise unless what we hold may be judged by at `now`.

        Raises:
            TrustUnavailableError: refuse nothing, ask again later.
        """
        ...


class FixedTrust:
    """A statement that was verified once, and the revocations that one adds by hand."""

    def __init__(self, key_set: KeySet, revocations: RevocationList | None = None) -> None:
        self.key_set = key_set
        self.revocations = RevocationList() if revocations is None else revocations

    def require_fresh(self, now: float) -> None:
        """Fresh as long as the statement is believed.

        Raises:
            TrustUnavailableError: the statement is expired.
        """
        self.key_set.require_current(now)
