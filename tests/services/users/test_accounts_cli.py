"""`carnet accounts`: on the user service's own database, with no password on a command line."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from messaging.database import open_database
from messaging.errors import DatabaseUnavailableError
from services.cli.accounts import app
from services.errors import StartError
from services.users.acts import Asker
from services.users.assembly import open_register
from services.users.audit import What
from services.users.passwords import Passwords
from services.users.store import Account
from tests.services.users.realm import PASSWORD, Clock


@pytest.fixture(autouse=True)
def database_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path / 'users.db'}"
    monkeypatch.setenv("CARNET_DATABASE_URL", url)
    return url


def run(*arguments: str, typed: str = f"{PASSWORD}\n") -> Result:
    return CliRunner().invoke(app, arguments, input=typed)


def does(*arguments: str, typed: str = f"{PASSWORD}\n") -> str:
    result = run(*arguments, typed=typed)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def listed() -> dict[str, dict[str, object]]:
    return {account["name"]: account for account in json.loads(does("list", "--json"))}


def signs_in(url: str, password: str) -> bool:
    async def account() -> Account | None:
        database = open_database(url)
        try:
            accounts = open_register(database, Passwords(), clock=Clock()).accounts
            account = await accounts.authenticate("ada", password)
            return account if account is not None and account.enabled else None
        finally:
            await database.close()

    return asyncio.run(account()) is not None


def test_an_account_is_added_before_the_service_ever_ran() -> None:
    output = does("add", "ada")

    assert "added ada (customer)" in output
    assert PASSWORD not in output
    assert listed()["ada"]["roles"] == ["customer"]
    assert "ada" in does("list")


def test_an_account_may_have_several_roles() -> None:
    does("add", "ada", "--role", "operator", "--role", "customer")

    assert listed()["ada"]["roles"] == ["customer", "operator"]


def test_a_password_comes_from_a_file_without_its_line_break(
    tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "password"
    file.write_text("another battery staple\n")

    does("add", "ada", "--password-file", str(file), typed="")

    assert signs_in(database_url, "another battery staple")


def test_a_password_comes_from_standard_input(database_url: str) -> None:
    does("add", "ada", "--password-file", "-", typed="another battery staple\n")

    assert signs_in(database_url, "another battery staple")


def test_no_option_takes_a_password() -> None:
    assert run("add", "ada", "--password", PASSWORD).exit_code == 2


def test_a_new_password_replaces_the_old_one(database_url: str) -> None:
    does("add", "ada")
    does("password", "ada", typed="another battery staple\n")

    assert not signs_in(database_url, PASSWORD)
    assert signs_in(database_url, "another battery staple")


def test_a_disabled_account_is_shown_as_such_and_can_be_enabled(database_url: str) -> None:
    does("add", "ada")
    does("disable", "ada")
    assert listed()["ada"]["enabled"] is False
    assert not signs_in(database_url, PASSWORD)

    does("enable", "ada")
    assert signs_in(database_url, PASSWORD)


def test_a_change_of_roles_raises_the_epoch() -> None:
    does("add", "ada")
    does("roles", "ada", "--role", "operator")

    assert (listed()["ada"]["roles"], listed()["ada"]["epoch"]) == (["operator"], 2)


@pytest.mark.parametrize(
    ("arguments", "typed", "part"),
    [
        (("add", "Ada"), PASSWORD, "name: Login name"),
        (("add", "ad"), PASSWORD, "name: Login name"),
        (("add", "ada"), "too short", "password: At least 12"),
        (("add", "ada"), "", "password: At least 12"),
        (("add", "ada"), "x" * 257, "password: At least 12"),
        (("password", "nobody"), PASSWORD, "no account named"),
        (("disable", "nobody"), "", "no account named"),
        (("roles", "nobody", "--role", "operator"), "", "no account named"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: tuple[str, ...], typed: str, part: str
) -> None:
    error = run(*arguments, typed=typed).exception

    assert isinstance(error, StartError)
    assert part in str(error)
    assert "\n" not in str(error)


def test_a_name_that_is_taken_is_refused() -> None:
    does("add", "ada")

    assert "taken" in str(run("add", "ada").exception)


def test_a_role_that_there_is_not_is_refused() -> None:
    assert run("add", "ada", "--role", "emperor").exit_code == 2


def test_a_password_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xff" * 20)

    error = run("add", "ada", "--password-file", str(file)).exception

    assert isinstance(error, StartError)


def test_a_database_that_cannot_be_opened_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'users.db'}"
    monkeypatch.setenv("CARNET_DATABASE_URL", url)

    error = run("list").exception

    assert isinstance(error, DatabaseUnavailableError)
    assert "missing" in error.detail


def test_the_local_stacks_database_is_taken_where_no_other_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CARNET_DATABASE_URL")
    monkeypatch.setenv("CARNET_STATE", str(tmp_path / "state"))
    assert isinstance(run("list").exception, StartError)

    (tmp_path / "state").mkdir()
    does("add", "ada")

    assert (tmp_path / "state/data/users.db").exists()


def test_accounts_are_listed_by_a_part_of_their_name() -> None:
    for name in ("ada", "adam", "grace"):
        does("add", name)

    found = json.loads(does("list", "--search", "ada", "--json"))

    assert [account["name"] for account in found] == ["ada", "adam"]
    assert json.loads(does("list", "--search", found[1]["sub"], "--json")) == found[1:]
    assert json.loads(does("list", "--search", "_", "--json")) == []


def opens_a_session(url: str) -> str:
    async def open_one() -> str:
        database = open_database(url)
        try:
            register = open_register(database, Passwords(), clock=time.time)
            async with register.acts.of(Asker.operator(), What.SIGN_IN) as act:
                account = await register.accounts.hold(act, "ada")
                assert account is not None
                return (await register.sessions.open(act, account, "api-gateway")).session.sid
        finally:
            await database.close()

    return asyncio.run(open_one())


def test_an_accounts_sessions_are_listed_with_whether_they_are_live(database_url: str) -> None:
    does("add", "ada")
    sid = opens_a_session(database_url)
    (live,) = json.loads(does("sessions", "ada", "--json"))
    assert (live["sid"], live["client_id"], live["live"]) == (sid, "api-gateway", True)
    assert sid in does("sessions", "ada")

    does("roles", "ada", "--role", "operator")

    (ended,) = json.loads(does("sessions", "ada", "--json"))
    assert (ended["sid"], ended["live"]) == (sid, False)
    assert "ended" in does("sessions", "ada")


def test_a_session_is_as_live_as_the_services_settings_make_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    does("add", "ada")
    opens_a_session(database_url)
    monkeypatch.setenv("CARNET_SESSION_IDLE", "P1D")

    (session,) = json.loads(does("sessions", "ada", "--json"))

    assert session["expires_at"] == session["created_at"] + 24 * 3600


def test_whose_account_is_not_there_has_no_sessions() -> None:
    error = run("sessions", "nobody").exception

    assert isinstance(error, StartError)
    assert "there is no account" in str(error)
