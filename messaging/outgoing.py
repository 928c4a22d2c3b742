"""What a unit of work sends once it is committed: events that are told, commands that are given."""

from dataclasses import dataclass
from datetime import timedelta

from messaging.contract import Command, Event


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event about an act of `subject`; `aggregate` is whose order it keeps."""

    event: Event
    subject: str
    aggregate: str


@dataclass(frozen=True, slots=True)
class OutgoingCommand:
    """A command to the service `receiver`, given in our own name.

    scopes: of the carnet of our own that it travels with; none where its handler is public.
    wanted_for: how long after now the work is wanted, counted from its commit.
    """

    command: Command
    receiver: str
    scopes: frozenset[str]
    wanted_for: timedelta
    aggregate: str
