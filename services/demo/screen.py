"""How the demo looks: coloured in a terminal, plain lines when piped."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table

PIPED_WIDTH: Final = 140
"""Columns where nobody looks: room enough for every value in one line."""


def make_console() -> Console:
    """A console that colours for a terminal, and writes plain wide lines to a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    return console


@dataclass(slots=True)
class Screen:
    """Prints numbered steps and keeps their times."""

    console: Console = field(default_factory=make_console)
    timings: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Everything shown within belongs to this step; its time goes into the summary."""
        self.console.print()
        self.console.rule(f"[bold]{len(self.timings) + 1}. {title}", align="left")
        started = time.perf_counter()
        yield
        self.timings.append((title, time.perf_counter() - started))

    def show(self, *what: RenderableType) -> None:
        for item in what:
            self.console.print(item)

    def passed(self, text: str) -> None:
        self.console.print(f"[green]✓[/] {text}")

    def refused(self, text: str) -> None:
        self.console.print(f"[red]✗[/] {text}")

    def summary(self) -> None:
        """Each step with its time, in seconds."""
        table = Table(title="summary", title_justify="left", box=SIMPLE)
        table.add_column("step")
        table.add_column("seconds", justify="right")
        for title, seconds in self.timings:
            table.add_row(title, f"{seconds:.2f}")
        table.add_row("[bold]in all", f"[bold]{sum(s for _, s in self.timings):.2f}")
        self.console.print()
        self.console.print(table)
