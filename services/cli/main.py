"""`carnet`: the one command, with a subject for each thing that people do."""

from typing import Final

import typer

from services.cli.lazily import LazyGroup, placeholders
from services.failure import KNOWN_ERRORS, fail
from services.logs import configure_logging

app: Final = typer.Typer(
    name="carnet",
    cls=LazyGroup,
    help="Async, message-driven services in which trust travels with each message.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
placeholders(app)


def main() -> None:
    """Run the command; what it cannot cope with is one line and a non-zero exit."""
    # What commands say goes to standard output; their log lines must not stand among it.
    configure_logging(service="carnet", log_format="console", level="error")
    try:
        app()
    except KNOWN_ERRORS as error:
        fail("carnet", error)
