"""`carnet standing`: where each relying party stands, as it says itself."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import Field
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from services.cli.answer import Json, print_json
from services.cli.progress import working
from services.cli.token import plain
from services.errors import StartError
from services.local.running import told, told_names
from services.local.service import CONSOLE
from services.operations.places import STATE_FOLDER
from services.operations.watching import Look, Watch, http_client, look_at
from services.settings import Settings, read_settings

_APART: Final = frozenset({"gateway", CONSOLE})
"""Those whose health and metrics are on a port of their own."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - not bound, looked up


class StandingSettings(Settings):
    """Where the services are, unless they are named."""

    state: Path = Field(default=Path(".carnet"), description=STATE_FOLDER)


def standing(
    *,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="A service's health and metrics, as name=http://host:port; repeatable. Without "
            "any, those of the stack that runs in CARNET_STATE.",
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """List the services: ready or not, their release, key set and revocations.

    Exit code 1 if one is not ready, or not there.

    Examples:
      carnet standing
      carnet standing --watch orders=http://127.0.0.1:8003 --json
    """
    watches = [_watch(each) for each in watch or ()]
    with working("asking"):
        looks = asyncio.run(_look(watches or list(_running())))
    if json_output:
        print_json([look.as_party() for look in looks])
    else:
        Console().print(_table(looks))
    if not all(look.ready for look in looks):
        raise typer.Exit(1)


def _watch(text: str) -> Watch:
    try:
        return Watch.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _running() -> Iterator[Watch]:
    """What the stack in the state folder has told its services.

    Raises:
        StartError: none runs there.
    """
    state = read_settings(StandingSettings).state
    found = 0
    for name in told_names(state):
        settings = told(state, name) or {}
        prefix = "CARNET_METRICS_" if name in _APART else "CARNET_"
        port = settings.get(f"{prefix}PORT")
        if port is not None:
            host = settings.get(f"{prefix}HOST", "127.0.0.1")
            found += 1
            yield Watch(name, f"http://{_EVERYWHERE.get(host, host)}:{port}")
    if not found:
        raise StartError(
            f"{state}: no stack runs in this folder; name services with --watch, or set "
            "CARNET_STATE"
        )


async def _look(watches: list[Watch]) -> list[Look]:
    async with http_client() as http:
        return await look_at(http, watches)


def _table(looks: list[Look]) -> Table:
    table = Table(
        Column("party", no_wrap=True), "ready", "release", "key set", "until", "feed", "revocations"
    )
    for look in looks:
        party = look.as_party()
        if look.error is not None:
            table.add_row(look.name, _ready(look), _red(look.error))
            continue
        table.add_row(
            look.name,
            _ready(look),
            _said(party["release"]),
            _said(party["key_set_version"]),
            _day(party["key_set_expires_at"]),
            _feed(party),
            _said(party["revocations"]),
        )
    return table


def _ready(look: Look) -> Text:
    if look.ready:
        return Text("yes")
    waiting = [name for name, holds in look.checks.items() if not holds]
    return _red(f"not {', '.join(waiting)}" if waiting else "no")


def _feed(party: dict[str, Any]) -> Text:
    if party["fresh"] is None:
        return Text("-")
    silence = "" if party["silence"] is None else f", {party['silence']:.1f} s"
    return Text(f"fresh{silence}") if party["fresh"] else _red(f"silent{silence}")


def _day(seconds: int | None) -> str:
    return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _said(value: object) -> Text:
    return plain("-" if value is None else str(value))


def _red(text: str) -> Text:
    said = plain(text)
    said.stylize("red")
    return said
