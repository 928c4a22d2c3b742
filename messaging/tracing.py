"""Spans of a trace (W3C Trace Context), told to whoever traces: nobody, unless it is turned on.

What a process sends names the span that it comes from in `traceparent`; what it receives continues
the trace that it names there. Nobody vouches for that header, so a trace proves nothing.

`Tracing` is what messaging needs of a tracing library, and imports none: `OFF` does nothing, and
who is told so by `on` need not even ask. A span's attributes never hold a token, a seal, a body or
what somebody typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Final, Literal, Protocol

BROKER: Final = "rabbitmq"
"""`messaging.system` of all that is sent and received."""

CALLS: Final = "carnet"
"""`rpc.system.name` of our calls."""

UNKNOWN: Final = "unknown"
"""What counts for the type of a message that nobody here handles: anybody can make up others."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int]
Headers = Mapping[str, str]


class Span(Protocol):
    """One step of a trace, from `begin` to `end`."""

    @property
    def headers(self) -> dict[str, str]:
        """`traceparent`, and `tracestate` where there is one, of what comes from this step."""
        ...

    @property
    def recording(self) -> bool:
        """Whether anybody will be told of it. Where not, nobody will be of what comes from it."""
        ...

    @property
    def ids(self) -> tuple[str, str]:
        """Trace id and span id, in hexadecimal digits."""
        ...

    def note(self, name: str, value: str | int) -> None:
        """Set an attribute."""
        ...

    def rename(self, name: str) -> None:
        """What it is shows only now."""
        ...

    def fail(self, code: str) -> None:
        """It went wrong; `code` says how, and is one of few."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """What begins within the block belongs to this step."""
        ...

    def end(self, *, at: float | None = None) -> None:
        """It is over; `at`: when, in seconds since the epoch, if not now."""
        ...


class Tracing(Protocol):
    """Whoever is told of spans."""

    on: bool
    """Whether anybody is."""

    def begin(
        self,
        name: str,
        kind: Kind,
        *,
        parent: Span | Headers | None = None,
        attributes: Attributes | None = None,
        at: float | None = None,
    ) -> Span:
        """Begin a step.

        parent: the step that it belongs to, or the headers of a message; the current one if none
            is given. Where there is none, or headers name none, a new trace begins.
        at: when it began, in seconds since the epoch, if not now.
        """
        ...


class _NoSpan:
    """A step that nobody is told of."""

    headers: dict[str, str] = {}  # noqa: RUF012 - copied by whoever adds to it
    recording = False
    ids = ("", "")

    def note(self, name: str, value: str | int) -> None:
        """Tell nobody."""

    def rename(self, name: str) -> None:
        """Tell nobody."""

    def fail(self, code: str) -> None:
        """Tell nobody."""

    @contextmanager
    def current(self) -> Iterator[None]:
        yield

    def end(self, *, at: float | None = None) -> None:
        """Tell nobody."""


class _Off:
    on = False

    def begin(
        self,
        name: str,  # noqa: ARG002 - nobody is told
        kind: Kind,  # noqa: ARG002
        *,
        parent: Span | Headers | None = None,  # noqa: ARG002
        attributes: Attributes | None = None,  # noqa: ARG002
        at: float | None = None,  # noqa: ARG002
    ) -> Span:
        return NO_SPAN


NO_SPAN: Final[Span] = _NoSpan()
OFF: Final[Tracing] = _Off()

CURRENT: Final[ContextVar[Span | None]] = ContextVar("carnet_span", default=None)
"""The step that runs, where anybody traces."""


@contextmanager
def step(
    tracing: Tracing,
    name: str,
    kind: Kind = "internal",
    *,
    parent: Span | Headers | None = None,
    attributes: Attributes | None = None,
) -> Iterator[Span]:
    """A step that lasts as long as the block, and what begins there belongs to it.

    One that raises has failed, with the error's code, or else its class; never its text.
    """
    span = tracing.begin(name, kind, parent=parent, attributes=attributes)
    try:
        with span.current():
            yield span
    except BaseException as error:
        span.fail(code_of(error))
        raise
    finally:
        span.end()


def code_of(error: BaseException) -> str:
    """What is said of an error: its stable code, or its class."""
    return str(getattr(error, "code", None) or type(error).__name__)
