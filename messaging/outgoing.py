"""What a unit of work sends once it is committed: events that are told, commands that are given."""

from dataclasses import dataclass, field
from datetime import timedelta

from auth.message import Route


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event about an act of `subject`; `aggregate` is whose order it keeps."""

    route: Route
    body: bytes
    subject: str
    aggregate: str


@dataclass(frozen=True, slots=True)
class OutgoingCommand:
    """A command to the service `receiver`, in our own name or in our caller's.

    scopes: of the carnet of our own that it travels with; none where its handler is public.
    wanted_for: how long after now the work is wanted, counted from its commit.
    carnet: in whose name; None where it is our own, of which one is had when it leaves.
    """

    route: Route
    body: bytes
    receiver: str
    scopes: frozenset[str]
    wanted_for: timedelta
    aggregate: str
    carnet: str | None = field(default=None, repr=False)
