"""Which services a command looks at: those that are named, else those of the stack that runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from pydantic import Field

from services.errors import StartError
from services.local.running import told, told_names
from services.local.service import CONSOLE
from services.operations.places import STATE_FOLDER
from services.operations.watching import Watch
from services.settings import Settings, read_settings

_APART: Final = frozenset({"gateway", CONSOLE})
"""Those whose health and metrics are on a port of their own."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - not bound, looked up


class WatchedSettings(Settings):
    """Where the services are, unless they are named."""

    state: Path = Field(default=Path(".carnet"), description=STATE_FOLDER)


Named: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--watch",
        metavar="NAME=URL",
        help="A service's health and metrics, as name=http://host:port; repeatable. Without "
        "any, those of the stack that runs in CARNET_STATE.",
    ),
]


def watches(named: list[str] | None) -> list[Watch]:
    """Those that are named, else those of the running stack.

    Raises:
        StartError: none is named, and no stack runs.
        typer.BadParameter: one is not of the form.
    """
    return [_watch(each) for each in named or ()] or list(_running())


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
    state = read_settings(WatchedSettings).state
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
