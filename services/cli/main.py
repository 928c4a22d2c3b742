"""`carnet`: the one command, with a subject for each thing that people do."""

from typing import Final

import typer

from services.cli import (
    accounts,
    audit,
    broker_keys,
    dead_letters,
    demo,
    doctor,
    keys,
    migrate,
    revoke,
    serve,
    token,
    trust,
    up,
)
from services.logs import configure_logging
from services.runtime import KNOWN_ERRORS, fail

app: Final = typer.Typer(
    name="carnet",
    help="Async, message-driven services in which trust travels with each message.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("users")(serve.users)
app.command("gateway")(serve.gateway)
app.command("orders")(serve.orders)
app.command("migrate")(migrate.migrate)
app.command("doctor")(doctor.doctor)
app.command("revoke")(revoke.revoke)
app.command("broker-keys")(broker_keys.broker_keys)
app.add_typer(accounts.app, name="accounts")
app.add_typer(trust.app, name="trust")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(token.app, name="token")
app.add_typer(dead_letters.app, name="dead-letters")


def main() -> None:
    """Run the command; what it cannot cope with is one line and a non-zero exit."""
    # What commands say goes to standard output; their log lines must not stand among it.
    configure_logging(service="carnet", log_format="console", level="error")
    try:
        app()
    except KNOWN_ERRORS as error:
        fail("carnet", error)
