"""`carnet standing`: where each relying party stands, as it says itself."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from services.cli.answer import Json, print_json
from services.cli.progress import working
from services.cli.token import plain
from services.cli.watched import Named, watches
from services.operations.watching import Look, Watch, http_client, look_at


def standing(
    *,
    watch: Named = None,
    json_output: Json = False,
) -> None:
    """List the services: ready or not, their release, key set and revocations.

    Exit code 1 if one is not ready, or not there.

    Examples:
      carnet standing
      carnet standing --watch orders=http://127.0.0.1:8003 --json
    """
    asked = watches(watch)
    with working("asking"):
        looks = asyncio.run(_look(asked))
    if json_output:
        print_json([look.as_party() for look in looks])
    else:
        Console().print(_table(looks))
    if not all(look.ready for look in looks):
        raise typer.Exit(1)


async def _look(asked: list[Watch]) -> list[Look]:
    async with http_client() as http:
        return await look_at(http, asked)


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
