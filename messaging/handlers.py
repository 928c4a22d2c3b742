"""What a consumer has for one type of message: how it is verified, and who handles it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from auth.errors import RefusalError
from auth.message import UnverifiedMessage, VerifiedMessage
from auth.policy import Expiry, Policy
from auth.principal import Principal
from auth.verifier import Opened, Verifier
from messaging.contract import Command, Event
from messaging.inbox import subject_of
from messaging.onward import Onward


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """The handler of one type of command.

    together: many may share one transaction.
    onward: what it may ask of others in its caller's name.
    """

    contract: type[Command] | type[Event]
    policy: Policy
    expiry: Expiry
    run: Callable[..., Awaitable[None]]
    together: bool = False
    onward: tuple[Onward, ...] = ()

    def open(self, verifier: Verifier, message: UnverifiedMessage, *, now: float) -> Opened:
        """The first part of its verification, up to the signatures (`auth.verifier`).

        Raises:
            RefusalError, TrustUnavailableError: as `Verifier.command`; so do the other three.
        """
        return verifier.open_command(message, self.contract.route, self.policy, now=now)

    def close(self, verifier: Verifier, opened: Opened, *, now: float) -> VerifiedMessage:
        """The rest of it."""
        return verifier.close_command(opened, self.expiry, now=now)

    def verify_again(
        self,
        verifier: Verifier,
        genuine: VerifiedMessage,
        message: UnverifiedMessage,
        *,
        now: float,
    ) -> VerifiedMessage:
        """What may have changed since, while it waited here."""
        return verifier.command_again(
            genuine, message, self.contract.route, self.policy, self.expiry, now=now
        )

    def verify(
        self, verifier: Verifier, message: UnverifiedMessage, *, now: float
    ) -> VerifiedMessage:
        """All of it at once."""
        return verifier.command(message, self.contract.route, self.policy, self.expiry, now=now)

    async def handle(self, body: Command | Event, message: VerifiedMessage, work: Any) -> None:
        """Run it; raises whatever the handler does."""
        await self.run(body, caller_of(message), work)


class EventHandler(CommandHandler):
    """The handler of one type of event: nobody calls, so there is no carnet and no caller."""

    __slots__ = ()

    def open(self, verifier: Verifier, message: UnverifiedMessage, *, now: float) -> Opened:
        genuine = verifier.event(message, self.contract.route, now=now)
        return Opened.genuine(genuine, message, self.contract.route, self.policy)

    def close(self, verifier: Verifier, opened: Opened, *, now: float) -> VerifiedMessage:
        return self.verify_again(verifier, opened.read(), opened.message, now=now)

    def verify_again(
        self,
        verifier: Verifier,
        genuine: VerifiedMessage,
        message: UnverifiedMessage,
        *,
        now: float,
    ) -> VerifiedMessage:
        try:
            return verifier.event_again(genuine, message, self.contract.route, now=now)
        except RefusalError as refusal:
            raise refusal.of(genuine) from refusal.__cause__

    def verify(
        self, verifier: Verifier, message: UnverifiedMessage, *, now: float
    ) -> VerifiedMessage:
        return verifier.event(message, self.contract.route, now=now)

    async def handle(self, body: Command | Event, message: VerifiedMessage, work: Any) -> None:
        del message
        await self.run(body, work)


def caller_of(message: VerifiedMessage) -> Principal:
    """The carnet's principal; under `public()`, where there is none, the client that sealed."""
    if message.principal is not None:
        return message.principal
    seal = message.seal
    return Principal(
        subject=subject_of(message),
        scopes=frozenset(),
        actors=(),
        session=None,
        epoch=0,
        token_id=seal.jti,
        expires_at=seal.exp,
    )
