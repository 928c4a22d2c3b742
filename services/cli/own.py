"""`carnet services`: services of one's own on a local stack."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from services.authority import Authority
from services.cli.amend import STATE, State, key_passphrase
from services.cli.answer import Json, print_json
from services.declared import (
    DECLARED,
    FILE,
    Declared,
    DeclaredService,
    read_all_declared,
    read_declared,
)
from services.errors import StartError
from services.local.running import told
from services.local.trust import make_local_trust

app: Final = typer.Typer(
    help="Services of one's own: let a local stack know them, and run them on it.",
    no_args_is_help=True,
)


@app.command()
def add(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help=f"The service's folder, with its {FILE}.")
    ],
    *,
    state: State = STATE,
    json_output: Json = False,
) -> None:
    """Let the local stack know a service: its keys, rights, queue, scopes and broker login.

    It is taken up when the stack starts. Repeat it after each change of service.toml. Elsewhere
    than on a local stack the trust root lists it, with what its README names:
    carnet trust register.

    Examples:
      carnet services add billing
    """
    service = read_declared(folder / FILE)
    target = state / DECLARED / f"{service.client}.toml"
    text = (folder / FILE).read_text(encoding="utf-8")
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StartError(f"{target}: cannot be written: {error.strerror}") from error
    make_local_trust(state, key_passphrase(), declared=read_all_declared(target.parent))
    running = told(state, "operator") is not None
    then = [
        "restart carnet up, which makes its login and its queue" if running else "carnet up",
        f"carnet services run {service.client}",
    ]
    if json_output:
        print_json({"client": service.client, "declared": str(target), "next": then})
        return
    console = Console(highlight=False)
    console.print(
        f"{service.client} is listed, with keys in {Authority(state).keys}/", soft_wrap=True
    )
    console.print(f"next: {then[0]}; then, beside it: {then[1]}", soft_wrap=True)


@app.command(name="list")
def list_services(*, state: State = STATE, json_output: Json = False) -> None:
    """List the services of one's own that the local stack knows.

    Examples:
      carnet services list
    """
    declared = read_all_declared(state / DECLARED)
    if json_output:
        print_json([_described(each, state) for each in declared])
        return
    table = Table("client", "takes", "hears", "tells", "acts at", "on this stack")
    for each in declared:
        ready = "yes" if told(state, each.client) else "after its next start"
        parts = (each.commands, each.hears, each.events, each.onward)
        table.add_row(each.client, *("\n".join(sorted(part)) for part in parts), ready)
    Console().print(table)


@app.command()
def run(
    client: Annotated[str, typer.Argument(help="Its client id.")],
    *,
    state: State = STATE,
) -> NoReturn:
    """Run a service of one's own beside `carnet up`, from the folder that its package is in.

    It gets its settings from the stack, and the rest of the environment as it is.

    Examples:
      carnet services run billing
    """
    service = _known(read_all_declared(state / DECLARED), client, state)
    settings = told(state, service.client)
    if settings is None:
        raise StartError(f"the stack in {state} does not run, or not yet with {client}: carnet up")
    package = service.client.replace("-", "_")
    if not Path(package, "__main__.py").is_file():
        raise StartError(f"there is no package {package} here: change to the folder that it is in")
    environment = {"CARNET_LOG_FORMAT": "console", **os.environ, **settings}
    os.execve(sys.executable, [sys.executable, "-m", package], environment)  # noqa: S606 - no shell


def _known(declared: Declared, client: str, state: Path) -> DeclaredService:
    for each in declared:
        if each.client == client:
            return each
    raise StartError(f"{state} knows no service {client}: carnet services add FOLDER")


def _described(service: DeclaredService, state: Path) -> dict[str, object]:
    known = service.model_dump(mode="json")
    return {**known, "running_stack_knows_it": told(state, service.client) is not None}
