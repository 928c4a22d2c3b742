"""`carnet new`: writes what one starts from."""

import json
import keyword
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from auth.claims import ClientId
from services.contracts.clients import CLIENTS
from services.declared import TAKEN
from services.errors import StartError

app: Final = typer.Typer(help="Write what one starts from.", no_args_is_help=True)

SUFFIX: Final = ".tmpl"
PACKAGES: Final = frozenset(
    {"auth", "messaging", "services", "tests", "carnet", "issuer", "operator"}
)


@app.callback()
def new() -> None:
    """Write what one starts from."""


@app.command()
def service(
    name: Annotated[str, typer.Argument(help="The service's client id, as billing.")],
    *,
    into: Annotated[
        Path, typer.Option(help="Folder to write the service's own folder into.")
    ] = Path(),
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a service that works: contract, handler, policy, store, migration, tests.

    A Python package of its name, in the current folder; nothing is overwritten. It takes one
    command, keeps what comes by it, and tells an event.

    Examples:
      carnet new service billing
    """
    package = _package(name)
    folder = into / package
    written = write(folder, names(name, package))
    then = [f"carnet services add {folder}", "carnet up", f"carnet services run {name}"]
    if json_output:
        said = {"client": name, "folder": str(folder), "files": written, "next": then}
        sys.stdout.write(f"{json.dumps(said, indent=2)}\n")
        return
    console = Console(highlight=False)
    console.print(f"wrote {len(written)} files into {folder}/; begin with {folder}/README.md")
    console.print("next:\n" + "\n".join(f"  {line}" for line in then), soft_wrap=True)


def names(client: str, package: str) -> dict[str, str]:
    """What the templates call by name."""
    words = package.split("_")
    return {"client": client, "package": package, "Title": " ".join(words).capitalize()}


def write(folder: Path, named: dict[str, str]) -> list[str]:
    """Write all files of a service; their names.

    Raises:
        StartError: the folder is there already, or cannot be written.
    """
    files = dict(_files(resources.files("services.templates") / "service"))
    try:
        folder.mkdir(parents=True)
        for path, text in sorted(files.items()):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                file.write(Template(text).substitute(named))
    except FileExistsError as error:
        raise StartError(f"{error.filename}: is there already; nothing is overwritten") from error
    except OSError as error:
        raise StartError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return sorted(files)


def _files(folder: Traversable, within: str = "") -> list[tuple[str, str]]:
    found = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _files(each, f"{within}{each.name}/")
        elif each.name.endswith(SUFFIX):
            name = f"{within}{each.name.removesuffix(SUFFIX)}"
            found.append((name, each.read_text(encoding="utf-8")))
    return found


def _package(name: str) -> str:
    """The package of a service, whose name is checked.

    Raises:
        BadParameter: it cannot be a client id, or a package's name, or is taken.
    """
    try:
        TypeAdapter[str](ClientId).validate_python(name)
    except ValidationError:
        raise typer.BadParameter(
            "a client id has 2 to 63 lower-case letters, digits and dashes"
        ) from None
    package = name.replace("-", "_")
    if name in CLIENTS or name in TAKEN or package in PACKAGES:
        raise typer.BadParameter(f"{name} is taken by this system")
    if (
        package in sys.stdlib_module_names
        or keyword.iskeyword(package)
        or keyword.issoftkeyword(package)
    ):
        raise typer.BadParameter(f"{package} is a name of Python's own")
    if name.endswith("-") or "--" in name:
        raise typer.BadParameter("a dash stands between two words")
    return package
