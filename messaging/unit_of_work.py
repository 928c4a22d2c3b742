"""One message's transaction: what a handler does and tells becomes true together, or not at all."""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from auth.message import VerifiedMessage
from messaging.contract import Command, Event
from messaging.inbox import subject_of
from messaging.onward import Onward, UndeclaredHopError
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
        self._onward: Mapping[str, tuple[Onward, str]] = {}

    @property
    def subject(self) -> str:
        """Whose message it is: the caller, or the one whose act an event records."""
        return subject_of(self.message)

    def may_act(self, onward: Mapping[str, tuple[Onward, str]]) -> None:
        """What its handler may do in its caller's name, by service. The consumer calls it."""
        self._onward = onward

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

    def send_onward(
        self, command: Command, *, to: str, wanted_for: timedelta, aggregate: str
    ) -> None:
        """Give `command` to the service `to`, in the caller's name, once this is committed.

        It is sealed as accepted now, however late it leaves; so a receiver that judges its carnet
        `at_acceptance` takes it for as long as it is wanted. Otherwise as `send`.

        Raises:
            UndeclaredHopError: the handler was not registered with an `Onward` to this service.
        """
        if to not in self._onward:
            raise UndeclaredHopError(f"the handler of {self.message.seal.ty} names no hop to {to}")
        hop, carnet = self._onward[to]
        body, route = command.to_body(), command.route
        self._outgoing.append(
            OutgoingCommand(route, body, to, hop.scopes, wanted_for, aggregate, carnet)
        )
