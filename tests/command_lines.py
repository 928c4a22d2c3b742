"""Whether `carnet …`, as somebody wrote it down, is a command that there is, with its options.

Nothing is run, read or opened.
"""

import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from typer._click.core import Context
from typer._click.exceptions import ClickException
from typer.core import TyperGroup
from typer.main import get_command

from services.cli.lazily import COMMANDS, load
from services.cli.main import app

_BETWEEN: Final = {"|", "||", "&", "&&", ";"}
_REDIRECTIONS: Final = {">", ">>", "<", "<<", "2>"}


def carnet_commands(line: str) -> Iterator[list[str]]:
    """The arguments of each `carnet` in a line of shell: also in a pipe, or in a container."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _BETWEEN:
            words.append(word)
            continue
        if (arguments := _arguments(words)) is not None:
            yield arguments
        words = []


def _arguments(words: list[str]) -> list[str] | None:
    """What follows `carnet`; None where something else is called."""
    while words and "=" in words[0]:
        words = words[1:]
    if words[:2] == ["docker", "compose"] and "carnet" in words:
        words = words[words.index("carnet") :]
    if not words or words[0].rpartition("/")[2] != "carnet":
        return None
    arguments: list[str] = []
    rest = iter(words[1:])
    for word in rest:
        if word in _REDIRECTIONS:
            next(rest, None)
        else:
            arguments.append(word)
    return arguments


def fault(arguments: list[str]) -> str | None:
    """What is wrong with `carnet` and these arguments; None where it would run."""
    command, path = tree(), ["carnet"]
    rest = list(arguments)
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"{' '.join(path)} has no command {rest[0]}"
        path.append(rest[0])
        command = command.commands[rest.pop(0)]
    if isinstance(command, TyperGroup) and not rest:
        return f"{' '.join(path)}: which command?"
    try:
        return _parse(command, path[-1], rest)
    except ClickException as error:
        return f"{' '.join(path)}: {error.format_message()}"


@cache
def tree() -> Any:
    """`carnet` with every command loaded."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    for name in COMMANDS:
        root.commands[name] = load(name)
    return root


def leaves(
    command: Any = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words behind `carnet`."""
    command = command or tree()
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*path, name))


def _parse(command: Any, name: str, arguments: list[str]) -> str | None:
    context = Context(command, info_name=name)
    values, left, _ = command.make_parser(context).parse_args(arguments)
    if values.get("help"):
        return None
    if left:
        return f"what is {' '.join(left)}?"
    for parameter in command.get_params(context):
        value = values.get(parameter.name)
        if value is None or value == ():
            if parameter.required and parameter.envvar is None:
                return f"{parameter.name} is missing"
        elif "File" not in parameter.bare_type():  # a file would be opened
            # Not process_value: that would run what hangs on an option, as --install-completion.
            parameter.get_runtime_param().coerce(value, param=parameter, ctx=context)
    return None
