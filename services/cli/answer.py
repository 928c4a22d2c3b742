"""What a command answers: a line for people, or the same as JSON for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import typer
from rich.console import Console

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object) -> None:
    """To standard output, where nothing else goes then."""
    sys.stdout.write(f"{json.dumps(value, indent=2)}\n")


def say(line: str) -> None:
    """One line, as it is."""
    Console().print(line, highlight=False, markup=False, soft_wrap=True)


def answer(line: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """What was done: `line` says it to people, `facts` to programs."""
    if as_json:
        print_json(facts)
    else:
        say(line)
