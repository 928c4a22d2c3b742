"""`carnet contracts`: the documents of messages and HTTP API, and what a change of them breaks."""

import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from services.cli.answer import Json, answer
from services.errors import StartError
from services.interface.changes import Break, breaks
from services.interface.files import (
    ASYNCAPI,
    FOLDER,
    OPENAPI,
    RELEASED,
    documents,
    released_documents,
    stale,
    write,
)
from services.interface.httpchanges import http_breaks

app: Final = typer.Typer(
    help="The messages and the HTTP API as documents: AsyncAPI, OpenAPI, JSON Schemas.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Option("--folder", help="Where the documents are kept.")]


class Exit(IntEnum):
    """How `check` and `diff` end where all went well and the answer is no."""

    INCOMPATIBLE = 3
    STALE = 4


class ContractFileError(StartError):
    """A document cannot be read or written."""

    code = "contract_file"


@app.command("write")
def write_documents(
    *,
    folder: Folder = FOLDER,
    released: Annotated[
        bool,
        typer.Option(help="Also write what later versions are compared with: for a release."),
    ] = False,
    json_output: Json = False,
) -> None:
    """Write every document anew from the code. Repeating changes nothing.

    Examples:
      carnet contracts write
      carnet contracts write --released
    """
    wanted = documents() | (released_documents() if released else {})
    try:
        changed = write(folder, wanted)
    except OSError as error:
        raise ContractFileError(f"{error.filename}: cannot write: {error.strerror}") from error
    lines = [*(str(folder / name) for name in changed)]
    lines.append(f"{len(wanted)} documents, {len(changed)} changed")
    facts = {"documents": len(wanted), "changed": sorted(map(str, changed))}
    answer("\n".join(lines), facts, as_json=json_output)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Of a document; - for a list of all.")] = ASYNCAPI,
) -> None:
    """Print a document as the code has it now.

    Examples:
      carnet contracts show
      carnet contracts show -
      carnet contracts show schemas/orders.place.v1.json
    """
    found = documents()
    if name == "-":
        sys.stdout.write("".join(f"{each}\n" for each in found))
        return
    if name not in found:
        raise ContractFileError(f"there is no document {name}; list them: carnet contracts show -")
    sys.stdout.write(found[name])


@app.command()
def check(
    *,
    folder: Folder = FOLDER,
    json_output: Json = False,
) -> None:
    """Say whether the documents are what the code would write; exit code 4 where they are not.

    Examples:
      carnet contracts check
    """
    found = stale(folder, documents())
    if json_output:
        sys.stdout.write(f"{json.dumps({'stale': found})}\n")
    else:
        sys.stdout.write("".join(f"{folder / name}: not what the code says\n" for name in found))
        advice = (
            "run: carnet contracts write" if found else "every document says what the code does"
        )
        sys.stdout.write(f"{advice}\n")
    if found:
        raise typer.Exit(Exit.STALE)


@app.command()
def diff(
    old: Annotated[
        Path | None,
        typer.Argument(help="AsyncAPI or OpenAPI file, or a folder with both; else the release's."),
    ] = None,
    new: Annotated[
        Path | None, typer.Argument(help="Likewise; else what the code says now.")
    ] = None,
    *,
    folder: Folder = FOLDER,
    json_output: Json = False,
) -> None:
    """Say what a change breaks, and whom; exit code 3 where it breaks anything.

    Without files, the code is compared with the last release. Added types, operations, and
    optional members of what a service takes break nothing.

    Examples:
      carnet contracts diff
      git show v0.1.0:docs/contracts/asyncapi.json > old.json; carnet contracts diff old.json
    """
    before = _read(folder / RELEASED if old is None else old)
    after = _now(before) if new is None else _read(new)
    found: list[Break] = []
    for kind, judge in ((ASYNCAPI, breaks), (OPENAPI, http_breaks)):
        if kind in before:
            if kind not in after:
                raise ContractFileError(f"{new}: has no {kind} to compare with that of {old}")
            found += judge(before[kind], after[kind])
    if json_output:
        sys.stdout.write(f"{json.dumps([each.as_json() for each in found], indent=2)}\n")
    else:
        sys.stdout.write("".join(f"{each}\n" for each in found))
        advice = (
            f"{len(found)} incompatible: leave what is there as it is, and add a new version of "
            "the type beside it (orders.place.v2)"
            if found
            else "nothing is broken"
        )
        sys.stdout.write(f"{advice}\n")
    if found:
        raise typer.Exit(Exit.INCOMPATIBLE)


Documents = dict[str, dict[str, Any]]
"""By kind, `ASYNCAPI` or `OPENAPI`."""


def _now(like: Documents) -> Documents:
    now = documents()
    return {kind: json.loads(now[kind]) for kind in like}


def _read(path: Path) -> Documents:
    if path.is_dir():
        found = [each for each in (path / ASYNCAPI, path / OPENAPI) if each.is_file()]
        if not found:
            raise ContractFileError(f"{path}: holds neither {ASYNCAPI} nor {OPENAPI}")
        return {kind: document for each in found for kind, document in _read(each).items()}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ContractFileError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise ContractFileError(f"{path}: is no JSON in UTF-8") from error
    if isinstance(document, dict) and "asyncapi" in document and "x-carnet-topology" in document:
        return {ASYNCAPI: document}
    if isinstance(document, dict) and "openapi" in document and "paths" in document:
        return {OPENAPI: document}
    raise ContractFileError(f"{path}: is neither Carnet's AsyncAPI document nor an OpenAPI one")
