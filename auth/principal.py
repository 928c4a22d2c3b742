"""Who asks: what a handler receives in the place of a token."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified caller of a message or an HTTP request.

    subject: a user's UUID, or `service:<client id>`.
    actors: clients that act for the subject, the latest first (RFC 8693 §4.1); empty where
        the subject speaks for itself.
    session: the sign-in that it belongs to, None for a service.
    expires_at: seconds since the epoch.
    """

    subject: str
    scopes: frozenset[str]
    actors: tuple[str, ...]
    session: str | None
    epoch: int
    token_id: str
    expires_at: int

    def has(self, scope: str) -> bool:
        """Whether the token carries exactly this scope; no prefixes, no wildcards."""
        return scope in self.scopes
