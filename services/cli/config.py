"""`carnet config`: what can be set, what is, and what is wrong with it."""

from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from services.cli.amend import TrustSettings
from services.cli.answer import Json, print_json, say
from services.cli.demo import DemoSettings
from services.cli.doctor import DoctorSettings
from services.cli.issuer import IssuerSettings
from services.cli.lazily import COMMANDS, load
from services.cli.migrate import MigrationSettings
from services.cli.queues import QueuesSettings
from services.cli.token import plain
from services.cli.up import StackSettings
from services.cli.watched import WatchedSettings
from services.configuration.catalogue import (
    REQUIRED,
    Readers,
    Setting,
    in_words,
    merged,
    settings_of,
)
from services.configuration.page import page
from services.configuration.told import Examined, Origin, Told, examine
from services.console.settings import ConsoleSettings
from services.doctor.kinds import KINDS
from services.local.compose_secrets import SecretsSettings
from services.operations.seat import DeskSettings

app: Final = typer.Typer(
    help="What can be set, what is, and what is wrong with it.", no_args_is_help=True
)

SERVICES: Final[Readers] = {
    **{name: kind.settings for name, kind in KINDS.items()},
    "console": ConsoleSettings,
}
STACK: Final = "carnet up"

READERS: Final[Readers] = {
    **SERVICES,
    STACK: StackSettings,
    "carnet accounts, audit, keys, revoke": IssuerSettings,
    "carnet dead-letters, shards": DeskSettings,
    "carnet demo": DemoSettings,
    "carnet doctor": DoctorSettings,
    "carnet migrate": MigrationSettings,
    "carnet queues": QueuesSettings,
    "carnet rates, standing": WatchedSettings,
    "carnet trust, broker-keys": TrustSettings,
    "make secrets": SecretsSettings,
}
"""Everybody who reads settings; who adds a class of them names it here."""


class Subject(StrEnum):
    """Whose settings are asked about."""

    USERS = "users"
    GATEWAY = "gateway"
    ORDERS = "orders"
    CONSOLE = "console"
    UP = "up"

    @property
    def reader(self) -> str:
        return STACK if self is Subject.UP else self.value


Whose: TypeAlias = Annotated[
    Subject, typer.Argument(help="A service, or up for the local stack's own.")
]


@app.command(name="list")
def list_settings(
    whose: Annotated[
        Subject | None, typer.Argument(help="A service, or up; without it, everybody's.")
    ] = None,
    *,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/settings.md, for all of them.")
    ] = False,
    json_output: Json = False,
) -> None:
    """List what can be set: variable, default, what it may be, and what it means.

    Each may be given as CARNET_…_FILE too: a file that holds the value.

    Examples:
      carnet config list
      carnet config list gateway
      carnet config list orders --json
    """
    settings = every_setting()
    if markdown:
        Console().file.write(page(settings))
        return
    if whose is not None:
        settings = tuple(each for each in settings if whose.reader in each.readers)
    if json_output:
        print_json([each.as_json() for each in settings])
        return
    for each in settings:
        say(f"{each.variable}  [{each.default}]  {each.values}")
        say(f"    {each.meaning}; read by {'; '.join(each.readers)}")


@app.command()
def show(whose: Whose, *, json_output: Json = False) -> None:
    """Show each setting as the service would find it here, and where it comes from.

    Of a secret only what is around it is shown: the broker's host, not the password. Works
    whatever is wrong, and says what.

    Examples:
      carnet config show orders
      carnet config show up --json
      docker compose exec gateway carnet config show gateway
    """
    examined = _examine(whose)
    if json_output:
        print_json([each.as_json() for each in examined.settings])
        return
    table = Table(Column("variable", no_wrap=True), "value", "from", box=SIMPLE)
    for each in examined.settings:
        style = "red" if each.problem is not None else "dim" if _untouched(each) else ""
        table.add_row(each.variable, plain(_value(each)), plain(_origin(each)), style=style)
    Console().print(table)
    for problem in examined.problems:
        say(problem.detail)


@app.command()
def check(whose: Whose, *, json_output: Json = False) -> None:
    """Check that the service could start by its settings; exit code 1 if not.

    Says of each that is wrong what it must be, of variables that nobody reads which one may be
    meant, and what can be set and can hardly be meant. Connects to nothing: that does
    carnet doctor.

    Examples:
      carnet config check orders
      carnet config check gateway --json
      docker compose run --rm orders config check orders
    """
    examined = _examine(whose)
    if json_output:
        print_json(
            {
                "ok": not examined.problems,
                "problems": [problem.as_json() for problem in examined.problems],
                "doubts": examined.doubts,
            }
        )
    else:
        for problem in examined.problems:
            say(f"FAIL {problem.detail}")
        for doubt in examined.doubts:
            say(f"warn {doubt}")
        if not examined.problems:
            say(f"ok   {whose.reader} has all that it needs to be told")
    if examined.problems:
        raise typer.Exit(1)


@cache
def every_setting() -> tuple[Setting, ...]:
    """Of all readers, by variable."""
    settings = [each for reader, kind in READERS.items() for each in settings_of(reader, kind)]
    return tuple(merged([*settings, *_options()]))


_TYPES: Final = {"str": "text", "Path": "path"}


def _options() -> Iterator[Setting]:
    """Variables that stand for an option of a command; these are not read from files."""
    for name in COMMANDS:
        for option in _with_variables(load(name)):
            yield Setting(
                variable=option.envvar,
                default=REQUIRED if option.required else in_words(option.default),
                values=_TYPES.get(option.bare_type(), option.bare_type()),
                meaning=(option.help or "").rstrip("."),
                secret=False,
                readers=(f"carnet {name}",),
                from_file=False,
            )


def _with_variables(command: Any) -> Iterator[Any]:
    for below in getattr(command, "commands", {}).values():
        yield from _with_variables(below)
    yield from (each for each in command.params if isinstance(each.envvar, str))


def _examine(whose: Subject) -> Examined:
    known = frozenset(each.variable for each in every_setting()) | COMPOSE
    return examine(READERS[whose.reader], known=known)


COMPOSE: Final = frozenset(
    {
        "CARNET_SECRETS",
        "CARNET_SECOND_PORT",
        "CARNET_AMQP_PORT",
        "CARNET_MANAGEMENT_PORT",
        "CARNET_GRAFANA_PORT",
        "CARNET_PROMETHEUS_PORT",
        "CARNET_JAEGER_PORT",
    }
)
"""Read by the compose files alone."""


def _untouched(told: Told) -> bool:
    return told.origin is Origin.DEFAULT


def _value(told: Told) -> str:
    return "-" if told.value is None else told.value


def _origin(told: Told) -> str:
    return told.origin if told.file is None else f"{told.origin} {told.file}"
