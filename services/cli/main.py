"""`carnet`: the one command, with a subject for each thing that people do."""

from typing import Final

import typer

from services.cli.lazily import LazyGroup, placeholders
from services.failure import KNOWN_ERRORS, fail
from services.logs import configure_logging

HELP: Final = """Async, message-driven services in which trust travels with each message.

Examples:
  carnet demo                  # see it: sign in, order, five forgeries bounce
  carnet up                    # run it: services, console, a broker, until Ctrl-C
  carnet doctor                # what is wrong, and what to do
  carnet config check orders   # could this service start by its settings?
  carnet dead-letters list     # what was refused, and why
  carnet --install-completion  # complete commands and options in this shell
"""

app: Final = typer.Typer(
    name="carnet",
    cls=LazyGroup,
    help=HELP,
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
