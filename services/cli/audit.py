"""`carnet audit`: what the issuer did and refused, taken out and checked."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from services.cli.answer import Json, answer
from services.cli.issuer import on_register
from services.cli.progress import working
from services.errors import StartError
from services.users.assembly import Register
from services.users.audit import What, check, export
from services.users.audit_search import Outcome, Sought

app: Final = typer.Typer(
    help="The issuer's audit log: who did what, on whom, when.", no_args_is_help=True
)


@app.command(name="export")
def export_entries(
    *,
    since: Annotated[
        datetime | None, typer.Option(help="Only what was done from this time on, UTC.")
    ] = None,
    what: Annotated[
        What | None, typer.Option(metavar="KIND", help="Only acts of this kind.")
    ] = None,
    outcome: Annotated[
        Outcome | None, typer.Option(help="Only what was done, or what was refused.")
    ] = None,
    about: Annotated[
        str | None,
        typer.Option(help="Only with this one as who did it, to whom, or in which session."),
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json/--text", help="JSON lines, or lines for people.")
    ] = True,
) -> None:
    """Write the entries to standard output, one a line, in the order in which they were made.

    Keep what was exported elsewhere: `carnet audit verify --against FILE` then shows whether
    anything of it was changed or removed here, by whomever.

    Examples:
      carnet audit export > audit.jsonl
      carnet audit export --since 2026-01-31 --text
      carnet audit export --what rotate_key --outcome refused --text
    """
    sought = Sought(what, outcome, about)
    start = 0 if since is None else int(since.replace(tzinfo=UTC).timestamp())

    async def write(register: Register) -> None:
        async with register.database.session() as work:
            async for entry in export(work, since=start, where=sought.conditions()):
                line = json.dumps(entry) if json_lines else _for_people(entry)
                sys.stdout.write(f"{line}\n")

    on_register(write)


@app.command()
def verify(
    *,
    against: Annotated[
        Path | None, typer.Option(help="An earlier export that must still hold, entry by entry.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Check that no entry was changed or removed; exit 1 and say which, if one was.

    Examples:
      carnet audit verify
      carnet audit verify --against audit.jsonl
    """
    exported = {} if against is None else _read_export(against)

    async def look(register: Register) -> tuple[int, list[str]]:
        async with register.database.session() as work:
            total, faults = await check(work)
            async for entry in export(work):
                if exported.get(_place(entry)) == entry:
                    del exported[_place(entry)]
        return total, faults

    with working("reading the audit log"):
        total, faults = on_register(look)
    faults += [
        f"chain {chain}: entry {number} is not what was exported"
        for chain, number in sorted(exported)
    ]
    lines = faults or [f"{total} entries, none changed or removed"]
    answer("\n".join(lines), {"entries": total, "faults": faults}, as_json=json_output)
    if faults:
        raise typer.Exit(1)


def _read_export(path: Path) -> dict[tuple[int, int], dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        return {_place(entry): entry for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(f"{path}: is no export of the audit log: {error}") from error


def _place(entry: dict[str, Any]) -> tuple[int, int]:
    return entry["chain"], entry["number"]


def _for_people(entry: dict[str, Any]) -> str:
    at = f"{datetime.fromtimestamp(entry['at'], UTC):%Y-%m-%d %H:%M:%S}"
    about = [
        f"{name}={entry[name]}"
        for name in ("whom", "session", "why", "client", "origin", "request_id")
        if entry[name] is not None
    ]
    return "  ".join([at, entry["what"], entry["outcome"], entry["who"], *about])
