"""`carnet contracts`: documents are written, compared with the code, and with a release."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.cli.contracts import ContractFileError, Exit, app
from services.interface.files import ASYNCAPI, OPENAPI, documents

Edit = Callable[[dict[str, Any]], object]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert run("write", "--released", "--folder", tmp_path).exit_code == 0
    return tmp_path


def edit(path: Path, change: Edit) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def demand_a_reason(document: dict[str, Any]) -> None:
    """As it was once: a command without a reason was refused."""
    document["components"]["schemas"]["orders.cancel.v1"]["properties"]["why"] = {"type": "string"}


def test_what_was_written_is_what_the_code_says(folder: Path) -> None:
    result = run("check", "--folder", folder)

    assert (result.exit_code, result.output) == (0, "every document says what the code does\n")


@pytest.mark.parametrize("name", [ASYNCAPI, "schemas/orders.place.v1.json"])
def test_a_document_that_says_something_else_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("{}")

    result = run("check", "--folder", folder)

    assert result.exit_code == Exit.STALE
    assert (
        result.output == f"{folder / name}: not what the code says\nrun: carnet contracts write\n"
    )
    assert json.loads(run("check", "--folder", folder, "--json").output) == {"stale": [name]}


def test_a_document_that_is_missing_is_named(folder: Path) -> None:
    (folder / OPENAPI).unlink()

    assert str(folder / OPENAPI) in run("check", "--folder", folder).output


def test_the_code_breaks_nothing_of_a_release_that_it_was_written_from(folder: Path) -> None:
    result = run("diff", "--folder", folder)

    assert (result.exit_code, result.output) == (0, "nothing is broken\n")


def test_a_code_that_breaks_a_release_is_told_what_and_whom(folder: Path) -> None:
    edit(folder / "released" / ASYNCAPI, demand_a_reason)

    result = run("diff", "--folder", folder)

    assert result.exit_code == Exit.INCOMPATIBLE
    assert "orders.cancel.v1: why is removed; breaks api-gateway\n" in result.output
    assert "add a new version" in result.output
    assert json.loads(run("diff", "--folder", folder, "--json").output)[0] == {
        "what": "orders.cancel.v1",
        "why": "why is removed",
        "breaks": ["api-gateway"],
    }


def test_two_files_are_compared_and_what_was_added_breaks_nothing(folder: Path) -> None:
    old, new = folder / "released" / ASYNCAPI, folder / ASYNCAPI
    edit(new, demand_a_reason)

    assert run("diff", old, new).exit_code == 0
    assert run("diff", new, old).exit_code == Exit.INCOMPATIBLE


def test_the_http_api_is_compared_as_well(folder: Path) -> None:
    edit(
        folder / "released" / OPENAPI,
        lambda document: document["paths"].update({"/v1/gone": document["paths"]["/v1/orders"]}),
    )

    result = run("diff", folder / "released")

    assert result.exit_code == Exit.INCOMPATIBLE
    assert "GET /v1/gone: the operation is removed; breaks HTTP clients\n" in result.output


@pytest.mark.parametrize("content", [None, b"{", b"\xff", b"{}", b"[]"])
def test_what_is_no_such_document_is_said_in_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content)

    result = run("diff", path)

    assert isinstance(result.exception, ContractFileError)
    assert str(result.exception).startswith(f"{path}: ")


def test_a_folder_without_documents_is_said_in_one_line(tmp_path: Path) -> None:
    assert isinstance(run("diff", tmp_path).exception, ContractFileError)


def test_documents_of_two_kinds_are_not_compared(folder: Path) -> None:
    result = run("diff", folder / ASYNCAPI, folder / OPENAPI)

    assert isinstance(result.exception, ContractFileError)


def test_a_document_is_shown_by_its_name() -> None:
    assert run("show").output == documents()[ASYNCAPI]
    assert run("show", "-").output.splitlines() == [*documents()]
    assert run("show", "claims/seal.json").output == documents()["claims/seal.json"]
    assert isinstance(run("show", "nothing").exception, ContractFileError)
