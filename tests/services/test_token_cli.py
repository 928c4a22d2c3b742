"""`carnet token inspect` reads what a stranger wrote, and shows it without obeying it."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.token import app
from tests.auth.forge import Parties, Token, access_token


def _now() -> int:
    """Of the wall, as the command reads it; never of when the tests were collected."""
    return int(time.time())


@pytest.fixture(scope="module")
def who() -> Parties:
    """Keys of these tests' own, since their statement is of the present."""
    return Parties.make()


@pytest.fixture
def state(tmp_path: Path, who: Parties) -> Path:
    """A folder with the trust root's public half and the statement that it signed."""
    (tmp_path / "trust-root.json").write_text(json.dumps(who.trust_root.to_jwks()))
    (tmp_path / "key-set.jwt").write_text(who.draft().sign(who.root, now=_now()))
    return tmp_path


def _inspect(state: Path, token: str, *options: str) -> Result:
    files = [
        "--trust-root",
        str(state / "trust-root.json"),
        "--key-set",
        str(state / "key-set.jwt"),
    ]
    return CliRunner().invoke(app, [*files, *options], input=token, env={"COLUMNS": "200"})


def _token(who: Parties, claims: Mapping[str, object] | None = None) -> Token:
    now = _now()
    present = {"iat": now, "exp": now + 900, "auth_time": now, **(claims or {})}
    return access_token(who).but(**present)


def test_a_genuine_token_passes_every_check(state: Path, who: Parties) -> None:
    shown = _inspect(state, f"Bearer {_token(who).text}\n", "--json")

    assert shown.exit_code == 0, shown.output
    assert {check["verdict"] for check in json.loads(shown.stdout)["checks"]} == {"passed"}


def test_the_operators_folder_says_who_is_trusted(state: Path, who: Parties) -> None:
    shown = CliRunner().invoke(app, [_token(who).text], env={"CARNET_STATE": str(state)})

    assert shown.exit_code == 0, shown.output
    assert "revoked" not in shown.stdout  # which no file tells


def test_a_refused_token_says_which_check_refused_it(state: Path, who: Parties) -> None:
    shown = _inspect(state, _token(who).with_key(who.stranger).text, "--json")

    assert shown.exit_code == 1
    refused = [c for c in json.loads(shown.stdout)["checks"] if c["verdict"] == "refused"]
    assert [check["check"] for check in refused] == ["key"]


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"note": "[/b]"}, id="markup that ends nothing"),
        pytest.param({"[/b]": "note"}, id="markup for a name"),
        pytest.param({"note": "[link=https://example.org]here[/link]"}, id="a link"),
        pytest.param({"note": "\x1b[2J\x1b]0;title\x07\x9b31m"}, id="what steers a terminal"),
        pytest.param({"auth_time": 10**15}, id="a time that no calendar reaches"),
        pytest.param({"auth_time": -(10**15) + 1}, id="a time before all calendars"),
    ],
)
def test_a_token_shows_what_it_says_and_steers_nothing(
    state: Path, who: Parties, claims: dict[str, object]
) -> None:
    forged = _token(who, claims).with_key(who.stranger).with_header(kid="[/red]")

    shown = _inspect(state, forged.text)

    assert shown.exit_code == 1
    assert shown.exception is None or isinstance(shown.exception, SystemExit)
    assert "[/red]" in shown.stdout
    assert not {"\x1b", "\x07", "\x9b"} & set(shown.stdout)
    assert any(str(part)[:4] in shown.stdout for item in claims.items() for part in item)
