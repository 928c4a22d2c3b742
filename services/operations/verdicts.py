"""Why a dead letter was refused: the verifier's own checks, one by one, as of when it was."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final

from auth.errors import CHECK_OF, Check, RefusalError, TrustUnavailableError
from auth.explain import COMMAND_CHECKS, explain
from auth.keyset import KeySet
from auth.message import Route, VerifiedMessage
from auth.policy import at_acceptance, requires
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.consumer import CommandConsumer
from messaging.contract import Command, Event
from messaging.letters import Letter
from messaging.settlement import DETAIL
from messaging.topology import EVENTS, WorkQueue
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS
from services.declared import Declared, DeclaredService, route_of
from services.errors import StartError
from services.operations.letters import without_tokens
from services.orders.app import order_commands

NOT_JUDGED: Final = "not judged here: no trust feed; a release is judged by the issuer"
_HANDLING: Final = "handling"


@dataclass(frozen=True, slots=True)
class Place:
    """A work queue, who consumes it, and by which rules."""

    queue: WorkQueue
    service: str
    consumer: Callable[[], CommandConsumer]


PLACES: Final[Mapping[str, Place]] = {
    ORDERS_COMMANDS.name: Place(ORDERS_COMMANDS, ORDER_SERVICE, order_commands)
}
"""A team adds the queues of its own services here, by the rules that these have in their code."""


def places_with(declared: Declared) -> dict[str, Place]:
    """These, and those of declared services, by what their `service.toml` says."""
    theirs = (Place(each.queue, each.client, partial(_as_declared, each)) for each in declared)
    return {**PLACES, **{place.queue.name: place for place in theirs}}


def _as_declared(service: DeclaredService) -> CommandConsumer:
    """Judges as the service does, whose code is elsewhere, and handles nothing.

    But for expiry: it may be stricter than that, and its own note on the letter then says so.
    """
    consumer = CommandConsumer(service.queue)

    async def handle(*_: object) -> None:
        raise AssertionError("a letter is judged here, and never handled")

    for message_type, taken in service.commands.items():
        expiry = at_acceptance(timedelta(seconds=taken.wanted_for))
        consumer.handles(_command(message_type), requires(*taken.scopes), expiry=expiry)(handle)
    for message_type in service.hears:
        consumer.hears(_event(message_type))(handle)
    return consumer


def _command(message_type: str) -> type[Command]:
    class Declared(Command):
        route: ClassVar[Route] = route_of(message_type)

    return Declared


def _event(message_type: str) -> type[Event]:
    class Declared(Event):
        route: ClassVar[Route] = route_of(message_type, EVENTS)

    return Declared


def place_of(queue: str, places: Mapping[str, Place] = PLACES) -> Place:
    """The place of that name.

    Raises:
        StartError: there is none.
    """
    if queue not in places:
        raise StartError(f"there is no work queue {queue}: there are {', '.join(places)}")
    return places[queue]


@dataclass(frozen=True, slots=True)
class Step:
    """One check with what became of it: passed, refused, not reached, not judged."""

    check: str
    question: str
    verdict: str
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "question": self.question,
            "verdict": self.verdict,
            "detail": self.detail,
        }


class Judge:
    """Judges letters as the consumer of their queue does, but for revocation."""

    def __init__(self, place: Place, key_set: KeySet) -> None:
        self._consumer = place.consumer()
        self._verifier = Verifier(FixedTrust(key_set), audience=place.service)

    def genuine(self, letter: Letter, *, now: float) -> bool:
        """Whether its carnet and seal are, and are of this very message."""
        try:
            self._verify(letter, now=now)
        except RefusalError as refusal:
            return refusal.authenticated is not None
        except TrustUnavailableError:
            return False
        return True

    def steps(self, letter: Letter, *, now: float) -> list[Step]:
        """Every check, as of when the letter was set aside, and what the service has noted.

        Raises:
            TrustUnavailableError: the statement at hand is expired.
        """
        as_of = letter.failed_at or now
        results = explain(lambda: self._verify(letter, now=as_of), COMMAND_CHECKS)
        noted = without_tokens(f"{letter.reason}: {letter.note(DETAIL) or ''}")
        noted_at = CHECK_OF.get(letter.reason)
        steps = []
        ended = False
        for result in results:
            verdict, detail = str(result.verdict), result.detail
            if not ended and verdict == "passed" and result.check == noted_at:
                verdict, detail = "refused", f"{noted} (as the service noted)"
            elif ended:
                verdict, detail = "not reached", ""
            elif verdict == "passed" and result.check == Check.REVOCATION:
                verdict, detail = "not judged", NOT_JUDGED
            ended = ended or verdict == "refused"
            steps.append(_step(result.check, verdict, detail))
        if noted_at is Check.INBOX:
            steps.append(_step(Check.INBOX, "refused", f"{noted} (as the service noted)"))
        elif noted_at is None:
            verdict = "not reached" if ended else "refused"
            question = "and then, its handling?"
            steps.append(Step(_HANDLING, question, verdict, "" if ended else noted))
        return steps

    def _verify(self, letter: Letter, *, now: float) -> VerifiedMessage:
        return self._consumer.judge(letter.unverified(), self._verifier, now=now)


def _step(check: Check, verdict: str, detail: str) -> Step:
    return Step(check.name.lower(), check.question, verdict, detail)
