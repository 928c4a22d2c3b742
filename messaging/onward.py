"""A handler that takes its caller's work a hop further: to whom, with what, and what may refuse it.

A handler states at its registration what it may ask of other services in its caller's name. The
carnets for it are had before the handler's transaction begins, so that no lock is held while the
issuer is asked, and nothing is done where there is none to be had.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from auth.errors import RefusalError
from auth.message import VerifiedMessage
from messaging.errors import MessagingError

EXPIRED: Final = "onward_expired"
REFUSED: Final = "onward_refused"
RELEASED: Final = "onward_released"
TOO_LONG: Final = "onward_too_long"


@dataclass(frozen=True, slots=True)
class Onward:
    """One hop: commands to the service `to`, with a carnet of these scopes.

    The carnet is the caller's, narrowed; its actors are we, and before us those who were there.
    The key set statement must name `to` among our `exchanges`.
    """

    to: str
    scopes: frozenset[str]


class OnwardError(RefusalError):
    """Nobody acts for this caller any more; another try would be refused too.

    code: `onward_expired`: the carnet that came with the message has ended;
        `onward_refused`: the issuer says no (revoked, or the caller may do less than before);
        `onward_released`: the message was released by an operator, and its carnet counts no more;
        `onward_too_long`: three clients have acted for the caller already (`auth.tokens`).
    """


class UndeclaredHopError(MessagingError):
    """A handler sends in its caller's name to a service that its registration does not name."""

    code = "undeclared_hop"


class OnwardCarnets(Protocol):
    """Gives carnets for a further hop; a service's own asks the issuer."""

    async def __call__(
        self, message: VerifiedMessage, unverified_carnet: str, unverified_seal: str, hop: Onward
    ) -> str:
        """A carnet for `hop`, derived from the one that came with `message`.

        Raises:
            OnwardError: there is none, now and for ever.
            TransientError: the statement does not give us the audience, yet; or the issuer answered
                with neither a carnet nor a reason that is the caller's.
            TrustUnavailableError: the issuer does not answer now.
        """
        ...
