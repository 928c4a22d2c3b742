"""`carnet revoke`, `carnet keys`, `carnet audit`: on the issuer's own database and keys."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import typer
from sqlalchemy import select, text, update
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from auth.errors import KeyFileError, KeySetError
from auth.keys import SigningKey
from auth.statement import KeySetDraft
from messaging.database import Database, open_database
from services.authority import Authority
from services.cli import accounts, audit, keys, revoke
from services.errors import StartError
from services.keyring import ISSUER, Keyring
from services.local.trust import make_local_trust
from services.users.acts import Asker
from services.users.assembly import Register, open_register
from services.users.audit import What
from services.users.passwords import Passwords
from services.users.store import Feed, IssuerKey, Revoked, Session
from tests.services.users.realm import PASSWORD
from tests.services.users.running import sqlite_url

T = TypeVar("T")


def _carnet() -> typer.Typer:
    """The commands as `carnet` has them."""
    app = typer.Typer()
    app.command("revoke")(revoke.revoke)
    for name, topic in (("accounts", accounts.app), ("keys", keys.app), ("audit", audit.app)):
        app.add_typer(topic, name=name)
    return app


class Stack:
    """A local stack's state folder, whose services do not run, and its operator."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, *arguments: str) -> Result:
        with capture_logs():  # `carnet` itself keeps them from standard output
            return CliRunner().invoke(_carnet(), arguments, input=f"{PASSWORD}\n")

    def does(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    def fails(self, *arguments: str) -> str:
        error = self.run(*arguments).exception
        assert isinstance(error, (StartError, KeySetError, KeyFileError)), error
        assert "\n" not in str(error)
        return str(error)

    def listed(self) -> list[dict[str, Any]]:
        """The issuer's keys, as `carnet keys list` has them."""
        views: list[dict[str, Any]] = json.loads(self.does("keys", "list", "--json"))
        return views

    def signing(self) -> str:
        (kid,) = [view["kid"] for view in self.listed() if view["signing"]]
        return str(kid)

    def lists_next(self) -> str:
        """The root lists one more key, which is made here."""
        authority = Authority(self.state)
        draft = KeySetDraft.of(authority.latest())
        key = Keyring(authority.keys, None).make_next(ISSUER)
        draft.add_next_key(ISSUER, key.public)
        authority.publish(draft, now=time.time())
        return key.kid

    def on(self, work: Callable[[Database], Awaitable[T]]) -> T:
        async def run() -> T:
            database = open_database(sqlite_url(self.state))
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(run())

    def an_hour_passes(self) -> None:
        """For the keys that are listed: they were so an hour ago."""

        async def age(database: Database) -> None:
            async with database.transaction() as work:
                await work.execute(update(IssuerKey).values(listed_at=IssuerKey.listed_at - 3600))

        self.on(age)

    def revocations(self) -> list[tuple[str | None, str | None, str]]:
        async def read(database: Database) -> list[tuple[str | None, str | None, str]]:
            async with database.session() as work:
                return [(r.sid, r.sub, r.why) for r in await work.scalars(select(Revoked))]

        return self.on(read)

    def session(self) -> str:
        """A session of `ada`'s."""

        async def begin(register: Register) -> str:
            async with register.acts.of(Asker.operator(), What.SIGN_IN) as act:
                account = await register.accounts.hold(act, "ada")
                assert account is not None
                return (await register.sessions.open(act, account, "api-gateway")).session.sid

        return self.on(
            lambda database: begin(open_register(database, Passwords(), clock=time.time))
        )


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    for name in ("DATABASE_URL", "TRUST_ROOT", "KEY_SET", "KEYS", "KEY_PASSPHRASE"):
        monkeypatch.delenv(f"CARNET_{name}", raising=False)
    monkeypatch.setenv("CARNET_STATE", str(tmp_path))
    make_local_trust(tmp_path)
    return Stack(tmp_path)


def test_a_session_is_ended_by_its_id(stack: Stack) -> None:
    stack.does("accounts", "add", "ada")
    sid, other = stack.session(), stack.session()

    assert f"ended session {sid}" in stack.does("revoke", "--session", sid)

    assert stack.revocations() == [(sid, None, "revoked")]

    async def read(database: Database) -> dict[str, str | None]:
        async with database.session() as work:
            return {s.sid: s.ended_why for s in await work.scalars(select(Session))}

    assert stack.on(read) == {sid: "revoked", other: None}


def test_a_users_sessions_are_all_ended(stack: Stack) -> None:
    stack.does("accounts", "add", "ada")
    (account,) = json.loads(stack.does("accounts", "list", "--json"))

    assert "ended all sessions of ada" in stack.does("revoke", "--user", "ada")

    assert stack.revocations() == [(None, account["sub"], "revoke_user")]
    (account,) = json.loads(stack.does("accounts", "list", "--json"))
    assert (account["epoch"], account["enabled"]) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--session", "00000000-0000-4000-8000-000000000000"), "there is no session"),
        (("--session", "é\n"), "there is no session"),
        (("--user", "nobody"), "there is no account"),
        (("--user", "Ada'; --"), "there is no account"),
    ],
)
def test_what_is_not_there_is_not_revoked(
    stack: Stack, arguments: tuple[str, ...], part: str
) -> None:
    assert part in stack.fails("revoke", *arguments)
    assert stack.revocations() == []


def test_a_restored_database_counts_its_revocations_under_another_id(stack: Stack) -> None:
    async def feed(database: Database) -> str:
        async with database.session() as work:
            return (await work.scalars(select(Feed.id))).one()

    stack.does("accounts", "add", "ada")
    before = stack.on(feed)

    assert "counted anew" in stack.does("revoke", "--restored")

    assert stack.on(feed) != before
    assert '"renew_feed"' in stack.does("audit", "export")


@pytest.mark.parametrize(
    "arguments", [(), ("--session", "x", "--user", "ada"), ("--user", "ada", "--restored")]
)
def test_one_thing_is_revoked_at_a_time(stack: Stack, arguments: tuple[str, ...]) -> None:
    assert stack.run("revoke", *arguments).exit_code == 2


@pytest.mark.parametrize("change", ["password", "roles", "disable"])
def test_what_an_operator_changes_voids_the_accounts_tokens(stack: Stack, change: str) -> None:
    stack.does("accounts", "add", "ada")

    stack.does("accounts", change, "ada", *(["--role", "operator"] if change == "roles" else []))

    ((_, _, why),) = stack.revocations()
    assert change in why


def test_a_rotation_lets_the_next_key_sign(stack: Stack) -> None:
    first = next(view for view in stack.listed() if view["state"] == "active")
    following = next(view for view in stack.listed() if view["state"] == "next")
    assert "less than 30 s ago" in stack.fails("keys", "rotate")
    assert stack.signing() == first["kid"]
    stack.an_hour_passes()

    assert f"signs with {following['kid']}" in stack.does("keys", "rotate")

    assert stack.signing() == following["kid"]
    assert "carnet trust rotate issuer" in stack.fails("keys", "rotate")
    table = stack.does("keys", "list")
    for kid in (first["kid"], following["kid"]):
        assert kid in table
    assert "since" in table


def test_a_key_that_was_listed_later_follows(stack: Stack) -> None:
    stack.listed()
    stack.an_hour_passes()
    stack.does("keys", "rotate")
    third = stack.lists_next()
    stack.listed()
    stack.an_hour_passes()

    stack.does("keys", "rotate")

    assert stack.signing() == third


def test_a_next_key_that_is_retired_never_signs(stack: Stack) -> None:
    first = next(view for view in stack.listed() if view["state"] == "active")
    following = next(view for view in stack.listed() if view["state"] == "next")
    stack.an_hour_passes()

    said = stack.does("keys", "retire", following["kid"])

    assert f"{following['kid']} does not sign from now on" in said
    assert f"signs with {first['kid']}" in said
    assert stack.signing() == first["kid"]
    assert "carnet trust rotate issuer" in stack.fails("keys", "rotate")
    assert "never" in stack.does("keys", "list")


def test_where_the_key_that_signs_is_retired_the_next_one_signs(stack: Stack) -> None:
    first = next(view for view in stack.listed() if view["state"] == "active")
    following = next(view for view in stack.listed() if view["state"] == "next")
    assert "less than 30 s ago" in stack.fails("keys", "retire", first["kid"])
    stack.an_hour_passes()

    retired = json.loads(stack.does("keys", "retire", first["kid"], "--json"))

    assert retired == {"retired": first["kid"], "kid": following["kid"]}
    assert stack.signing() == following["kid"]
    (entry,) = exported(stack, "--what", "retire_key", "--outcome", "done")
    assert (entry["whom"], entry["why"]) == (first["kid"], f"{following['kid']} signs now")


def test_a_key_that_is_not_there_cannot_be_retired(stack: Stack) -> None:
    assert "carnet keys list" in stack.fails("keys", "retire", "x" * 43)


def test_keys_are_shown_before_any_service_ran(stack: Stack) -> None:
    views = stack.listed()

    assert {v["state"] for v in views} == {"active", "next"}
    assert all(v["here"] and not v["signing"] for v in views)
    assert "not yet" in stack.does("keys", "list")


def test_places_may_be_named_one_by_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    stack.listed()
    stack.state.joinpath("data").rename(elsewhere)
    monkeypatch.setenv("CARNET_STATE", str(tmp_path / "nothing"))
    monkeypatch.setenv("CARNET_DATABASE_URL", f"sqlite+aiosqlite:///{elsewhere / 'users.db'}")
    monkeypatch.setenv("CARNET_TRUST_ROOT", str(stack.state / "trust-root.json"))
    monkeypatch.setenv("CARNET_KEY_SET", str(stack.state / "key-set.jwt"))
    monkeypatch.setenv("CARNET_KEYS", str(stack.state / "keys/user-service"))

    assert all(view["here"] for view in stack.listed())


def _no_root(state: Path) -> None:
    (state / "trust-root.json").unlink()


def _no_statement(state: Path) -> None:
    (state / "key-set.jwt").unlink()


def _bad_root(state: Path) -> None:
    (state / "trust-root.json").write_text("{}")


def _other_root(state: Path) -> None:
    make_local_trust(state / "other")
    (state / "other/trust-root.json").replace(state / "trust-root.json")


def _open_key(state: Path) -> None:
    for path in (state / "keys/user-service/issuer").glob("*.pem"):
        path.chmod(0o644)


def _no_keys(state: Path) -> None:
    for path in (state / "keys/user-service/issuer").glob("*.pem"):
        path.unlink()


def _locked_key(state: Path) -> None:
    SigningKey.generate().save(state / "keys/user-service/issuer/locked.pem", b"a passphrase")


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (_no_root, "trust-root.json: cannot read"),
        (_bad_root, "trust-root.json: the trust root is not"),
        (_no_statement, "key-set.jwt: cannot read"),
        (_other_root, "not the trust root's"),
        (_open_key, "readable by others"),
        (_no_keys, "no key here is listed as the issuer's active key"),
        (_locked_key, "give its passphrase"),
    ],
)
def test_what_is_in_the_way_of_a_rotation_is_one_clear_line(
    stack: Stack, spoil: Callable[[Path], None], part: str
) -> None:
    spoil(stack.state)

    assert part in stack.fails("keys", "rotate")


def test_without_a_database_the_commands_say_what_to_set(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CARNET_STATE", str(tmp_path / "nothing"))

    for arguments in (("revoke", "--user", "ada"), ("keys", "list"), ("audit", "export")):
        assert "CARNET_DATABASE_URL" in stack.fails(*arguments)


def exported(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.does("audit", "export", *arguments).splitlines()]


def test_the_log_is_exported_as_json_lines(stack: Stack) -> None:
    stack.does("accounts", "add", "ada")
    stack.does("revoke", "--user", "ada")

    entries = exported(stack)

    assert [entry["what"] for entry in entries] == ["add_account", "revoke_user"]
    assert all(entry["who"].startswith("operator:") for entry in entries)
    assert exported(stack, "--json") == entries
    assert exported(stack, "--since", "2020-01-01") == entries
    assert exported(stack, "--since", "2999-01-01T00:00:00") == []


def test_the_log_is_exported_by_what_was_done_to_whom(stack: Stack) -> None:
    ada = json.loads(stack.does("accounts", "add", "ada", "--json"))
    stack.does("accounts", "add", "grace")
    stack.does("revoke", "--user", "ada")
    stack.fails("revoke", "--user", "nobody")

    def found(*arguments: str) -> list[tuple[str, str]]:
        return [(e["what"], e["outcome"]) for e in exported(stack, *arguments)]

    assert found("--about", ada["sub"]) == [("add_account", "done"), ("revoke_user", "done")]
    assert found("--about", ada["sub"], "--what", "revoke_user") == [("revoke_user", "done")]
    assert found("--outcome", "refused") == [("revoke_user", "refused")]
    assert found("--about", "ada") == []
    assert found("--about", "\udcff") == []
    assert found("--outcome", "refused", "--since", "2999-01-01") == []


def test_the_log_is_exported_for_people(stack: Stack) -> None:
    stack.does("accounts", "add", "ada")

    (line,) = stack.does("audit", "export", "--text").splitlines()

    for part in ("add_account", "done", "operator:", "why=customer"):
        assert part in line


def test_a_log_that_nobody_changed_is_whole(stack: Stack, tmp_path: Path) -> None:
    stack.does("accounts", "add", "ada")
    earlier = tmp_path / "export.jsonl"
    earlier.write_text(stack.does("audit", "export"))
    stack.does("accounts", "disable", "ada")

    assert "2 entries, none changed or removed" in stack.does("audit", "verify")
    assert "2 entries" in stack.does("audit", "verify", "--against", str(earlier))


def tampers(stack: Stack, *statements: str) -> None:
    """As somebody can who owns the database."""

    async def change(database: Database) -> None:
        async with database.transaction() as work:
            for event in ("UPDATE", "DELETE"):
                await work.execute(text(f"DROP TRIGGER audit_no_{event}"))
            for statement in statements:
                await work.execute(text(statement))

    stack.on(change)


def test_a_changed_log_is_told_and_is_a_failure(stack: Stack) -> None:
    stack.does("accounts", "add", "ada")
    stack.does("accounts", "disable", "ada")
    tampers(stack, "DELETE FROM audit WHERE what = 'disable'")

    result = stack.run("audit", "verify")

    assert result.exit_code == 1
    assert "chain 0: entry 2 is missing" in result.output


def test_an_earlier_export_shows_what_the_chains_cannot(stack: Stack, tmp_path: Path) -> None:
    """Somebody has made them anew, without what he did."""
    stack.does("accounts", "add", "ada")
    stack.does("accounts", "disable", "ada")
    earlier = tmp_path / "export.jsonl"
    earlier.write_text(stack.does("audit", "export"))
    tampers(
        stack,
        "UPDATE audit_chains SET number = 1, hash = (SELECT hash FROM audit WHERE number = 1)"
        " WHERE chain = 0",
        "DELETE FROM audit WHERE number = 2",
    )
    assert "1 entries" in stack.does("audit", "verify")

    result = stack.run("audit", "verify", "--against", str(earlier))

    assert result.exit_code == 1
    assert "chain 0: entry 2 is not what was exported" in result.output


@pytest.mark.parametrize("content", ["x", "{}", "[1]", '{"chain": 1}'])
def test_what_is_no_export_is_refused(stack: Stack, tmp_path: Path, content: str) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text(content)

    assert "no export" in stack.fails("audit", "verify", "--against", str(file))


def test_what_was_done_is_told_to_programs(stack: Stack) -> None:
    """Each command that changes something says it as JSON, and nothing else."""
    added = json.loads(stack.does("accounts", "add", "ada", "--json"))
    sid = stack.session()
    stack.lists_next()
    stack.listed()
    stack.an_hour_passes()

    assert (added["name"], added["enabled"]) == ("ada", True)
    assert [
        json.loads(stack.does(*arguments, "--json"))
        for arguments in (
            ("accounts", "roles", "ada", "--role", "operator"),
            ("accounts", "password", "ada"),
            ("accounts", "disable", "ada"),
            ("accounts", "enable", "ada"),
            ("revoke", "--session", sid),
            ("revoke", "--user", "ada"),
            ("revoke", "--restored"),
        )
    ] == [
        {"name": "ada", "roles": ["operator"]},
        {"name": "ada", "changed": ["password"]},
        {"name": "ada", "enabled": False},
        {"name": "ada", "enabled": True},
        {"revoked": "session", "session": sid},
        {"revoked": "user", "user": "ada"},
        {"revoked": "nobody", "counted_anew": True},
    ]
    assert json.loads(stack.does("keys", "rotate", "--json")) == {"kid": stack.signing()}
    verified = json.loads(stack.does("audit", "verify", "--json"))
    assert (verified["entries"] > 0, verified["faults"]) == (True, [])
