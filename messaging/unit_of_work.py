"""One message's transaction: what a handler does and tells becomes true together, or not at all."""

from sqlalchemy.ext.asyncio import AsyncSession

from auth.message import VerifiedMessage
from messaging.contract import Event


class UnitOfWork:
    """What a handler works with. A service derives its own, with its repositories.

    session: of the transaction that also holds the message's inbox row; the consumer commits.
    message: what was verified; `message.seal.jti` is the message's own id.
    body: its bytes, which the seal vouches for; in a refusal they need not be of the contract.
    now: when its handling began, seconds since the epoch.
    """

    def __init__(
        self, session: AsyncSession, message: VerifiedMessage, *, body: bytes, now: float
    ) -> None:
        self.session = session
        self.message = message
        self.body = body
        self.now = now
        self._events: list[tuple[Event, str]] = []

    @property
    def events(self) -> tuple[tuple[Event, str], ...]:
        """The events to publish, each with its subject."""
        return tuple(self._events)

    def publish(self, event: Event, *, subject: str) -> None:
        """Tell `event`, about an act of `subject`'s, once this transaction is committed."""
        self._events.append((event, subject))
