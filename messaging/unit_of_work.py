"""One message's transaction: what a handler does and tells becomes true together, or not at all."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from auth.message import VerifiedMessage
from messaging.contract import Command, Event
from messaging.outgoing import OutgoingCommand, OutgoingEvent


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
        self._outgoing: list[OutgoingEvent | OutgoingCommand] = []

    @property
    def outgoing(self) -> tuple[OutgoingEvent | OutgoingCommand, ...]:
        """What leaves once this transaction is committed, in order."""
        return tuple(self._outgoing)

    async def flush(self) -> None:
        """Write what was put off in this transaction. The consumer calls it before it commits.

        A service that keeps what handlers write in `session.info`, and writes it all here, needs
        few statements for many commands that share a transaction.
        """

    def publish(self, event: Event, *, subject: str, aggregate: str | None = None) -> bytes:
        """Tell `event`, about an act of `subject`'s, once this transaction is committed; its body.

        aggregate: messages of one leave in the order of their transactions, as long as a lock
            that the handler takes orders these; the subject's, unless said otherwise.
        """
        body = event.to_body()
        self._outgoing.append(OutgoingEvent(event.route, body, subject, aggregate or subject))
        return body

    def send(
        self,
        command: Command,
        *,
        to: str,
        scopes: frozenset[str],
        wanted_for: timedelta,
        aggregate: str,
    ) -> None:
        """Give `command` to the service `to`, in our own name, once this is committed.

        scopes: what the receiver's handler requires. The key set statement must give them to us,
            and `to` among our `exchanges`. Empty where the handler is public.
        wanted_for: no longer than the receiver's handler allows.
        aggregate: as in `publish`.
        """
        body = command.to_body()
        self._outgoing.append(
            OutgoingCommand(command.route, body, to, scopes, wanted_for, aggregate)
        )
