"""Dead letters in a terminal."""

from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from messaging.letters import Letter
from services.cli.token import claims_table, plain
from services.operations.letters import Line, details_of, time_of
from services.operations.verdicts import Step

_ID: Final = 36

MAX_SHOWN: Final = 2000
"""Characters of a body that are shown; --json has all of it."""

_MARKS: Final = {
    "passed": "[green]✓[/]",
    "refused": "[red]✗[/]",
    "not reached": "[dim]·[/]",
    "not judged": "[yellow]?[/]",
}


def table_of(lines: list[Line]) -> Table:
    """A line for each letter."""
    table = Table(
        Column("message", no_wrap=True, min_width=_ID),
        Column("reason", overflow="fold"),
        Column("service", overflow="fold"),
        Column("user", overflow="fold"),
        Column("type", overflow="fold"),
        Column("since", overflow="fold"),
        "copies",
    )
    for line in lines:
        cells = (line.id, line.reason, line.service, line.user, line.type, time_of(line.failed_at))
        table.add_row(*(plain(cell or "-") for cell in cells), str(line.copies))
    return table


def print_letter(letter: Letter, steps: list[Step], *, now: float) -> None:
    """What it says of itself, each check, and its body."""
    console = Console()
    details = details_of(letter)
    facts = Table("", "", box=SIMPLE, show_header=False)
    for name in ("id", "reason", "detail", "failed_at", "refused_by", "queue", "type"):
        facts.add_row(name.replace("_", " "), plain(str(details[name] or "-")))
    console.print(facts)
    for name in ("carnet", "seal", "release"):
        if details[name] is not None:
            console.print(plain(f"{name}, as it says of itself"))
            console.print(claims_table(details[name]["claims"], now=now))
    checks = Table("", "check", "verdict", box=SIMPLE)
    for step in steps:
        checks.add_row(_MARKS[step.verdict], step.question, plain(step.detail or step.verdict))
    console.print(plain(f"as of {details['failed_at'] or 'now'}"))
    console.print(checks)
    console.print(plain((details.get("body") or details.get("body_base64") or "")[:MAX_SHOWN]))
