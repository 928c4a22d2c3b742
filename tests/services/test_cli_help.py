"""Each command teaches by examples that work, speaks JSON, and completes in a shell."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from tests.command_lines import carnet_commands, fault, leaves

LEAVES: Final = dict(leaves())

WITHOUT_JSON: Final = {
    ("up",): "runs until it is stopped",
    ("services", "run"): "runs until it is stopped",
    ("login",): "waits for somebody at a browser",
    ("demo",): "is a story for people",
    ("users",): "is a service; its log is JSON",
    ("gateway",): "is a service; its log is JSON",
    ("orders",): "is a service; its log is JSON",
    ("console",): "is a process; its log is JSON",
    ("contracts", "show"): "prints documents, which are JSON",
    ("trust", "key"): "prints a JWK, which is JSON",
    ("dead-letters", "export"): "prints JSON lines",
}


def examples(command: Any) -> list[str]:
    """The lines under `Examples:`."""
    _, _, shown = (command.help or "").partition("Examples:\n")
    return [line.strip() for line in shown.splitlines() if line.strip()]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_help_of_each_command_has_examples_of_it(path: tuple[str, ...]) -> None:
    shown = examples(LEAVES[path])
    called = [arguments for line in shown for arguments in carnet_commands(line)]

    assert shown, "write Examples: at the end of its docstring"
    assert any(tuple(arguments[: len(path)]) == path for arguments in called)
    assert [fault(arguments) for arguments in called] == [None] * len(called)


def test_the_help_of_carnet_itself_has_examples() -> None:
    lines = examples(app.info)

    assert lines
    assert all(fault(arguments) is None for line in lines for arguments in carnet_commands(line))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("carnet nothing", "carnet has no command nothing"),
        ("carnet trust", "carnet trust: which command?"),
        ("carnet trust nothing", "carnet trust has no command nothing"),
        ("carnet trust show --nothing", "carnet trust show: No such option: --nothing"),
        ("carnet trust register", "client is missing"),
        (
            "carnet doctor shop",
            "carnet doctor: Invalid value: shop is none of users, orders, gateway",
        ),
        ("carnet shards 65", "carnet shards: Invalid value for 'number'"),
        ("carnet keys rotate now", "what is now?"),
        ("A=b carnet keys rotate now | carnet keys list > f", "what is now?"),
        ("docker compose exec orders carnet doctor shop", "carnet doctor: Invalid"),
    ],
)
def test_an_example_that_would_not_run_is_noticed(line: str, said: str) -> None:
    assert (fault(next(carnet_commands(line))) or "").startswith(said)


@pytest.mark.parametrize("path", LEAVES.keys() - WITHOUT_JSON, ids=" ".join)
def test_each_command_answers_programs_too(path: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in LEAVES[path].params)


def test_help_shows_examples_line_by_line() -> None:
    shown = CliRunner().invoke(app, ["trust", "sign", "--help"], env={"COLUMNS": "100"}).output

    lines = [line.strip() for line in shown.splitlines()]
    assert {"carnet trust sign", "carnet trust sign --days 30"} <= set(lines)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("carnet tr", "trust"),
        ("carnet trust re", "register"),
        ("carnet trust show --j", "--json"),
        ("carnet trust rotate ord", "order-service"),
        ("carnet dead-letters list --reason rev", "revoked"),
        ("carnet dead-letters list --queue o", "orders.commands"),
        ("carnet accounts add ada --role op", "operator"),
        ("carnet audit export --what retire", "retire_key"),
        ("carnet config show ga", "gateway"),
        ("carnet doctor us", "users"),
    ],
)
def test_bash_completes_what_was_begun(typed: str, offered: str) -> None:
    assert offered in _asked(_completing("bash", typed)).split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_are_told_what_commands_are_for(shell: str) -> None:
    assert "Void tokens" in _asked(_completing(shell, "carnet rev"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_to_complete(shell: str) -> None:
    assert "_CARNET_COMPLETE=complete_" in _asked({"_CARNET_COMPLETE": f"source_{shell}"})


def test_the_program_itself_completes() -> None:
    program = str(Path(sys.executable).with_name("carnet"))
    told = _completing("bash", "carnet trust reg")

    said = subprocess.check_output([program], env={**os.environ, **told}, text=True)  # noqa: S603

    assert said.split() == ["register"]


def _completing(shell: str, typed: str) -> dict[str, str]:
    """What a shell tells `carnet` when it asks how this may go on."""
    return {
        "_CARNET_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }


def _asked(variables: dict[str, str]) -> str:
    return CliRunner().invoke(app, env=variables, prog_name="carnet").output
