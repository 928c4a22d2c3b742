"""`carnet login`, `carnet whoami`, `carnet logout`, against a gateway; and `carnet clients`."""

import asyncio
import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from services.cli.credentials import CredentialFile, Credentials, NotSignedInError
from services.cli.session import current_session
from services.errors import StartError
from tests.services.gateway.browser import Page, submit
from tests.services.gateway.stack import PASSWORD, PATIENCE, Stack, User


@dataclass
class Shell:
    """Runs `carnet` with settings of its own."""

    home: Path
    stack: Stack

    @property
    def file(self) -> Path:
        return self.home / "carnet" / "credentials.json"

    async def start(self, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "CARNET_URL": self.stack.url,
            "COLUMNS": "200",
            **settings,
        }
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from services.cli.main import main; main()", *arguments),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Its exit code, and what it said."""
        process = await self.start(*arguments, **settings)
        async with asyncio.timeout(PATIENCE):
            said, failed = await process.communicate()
        return process.returncode or 0, said.decode(), failed.decode()


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Shell:
    return Shell(tmp_path, stack)


@asynccontextmanager
async def logging_in(
    shell: Shell, *arguments: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The command as it waits, and the address that it names."""
    process = await shell.start("login", *arguments)
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(PATIENCE):
        while (found := re.search(r"or open +(\S+)", said)) is None:
            line = await process.stdout.readline()
            assert line, said
            said += line.decode()
    try:
        yield process, found.group(1)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def decide(address: str, decision: str, user: User) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as browser:
        page = Page.of(await browser.get(address))
        page.action = str(httpx.URL(address).copy_with(path=page.action, query=None))
        page = Page.of(await browser.post(page.action, data=page.fields))
        page.action = str(httpx.URL(address).copy_with(path=page.action, query=None))
        credentials = {"name": user.name, "password": PASSWORD}
        answer = await submit(browser, page, **credentials, decision=decision)
        assert answer.status_code == 200, answer.text


async def log_in(shell: Shell, user: User, *arguments: str) -> str:
    async with logging_in(shell, *arguments) as (process, address):
        await decide(address, "allow", user)
        async with asyncio.timeout(PATIENCE):
            said, failed = await process.communicate()
    assert process.returncode == 0, failed.decode()
    return said.decode()


async def test_somebody_logs_in_asks_who_they_are_and_logs_out(shell: Shell, ada: User) -> None:
    said = await log_in(shell, ada, "--scope", "orders:read")

    assert said == f"signed in as {ada.name} (orders:read)\n"
    assert stat.S_IMODE(shell.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(shell.file.parent.stat().st_mode) == 0o700
    kept = json.loads(shell.file.read_text())
    code, told, _ = await shell.run("whoami", "--json")
    who = json.loads(told)
    assert code == 0
    assert (who["name"], who["sub"], who["scope"]) == (ada.name, ada.sub, "orders:read")
    assert (who["issuer"], who["client_id"]) == (shell.stack.url, "app:carnet-cli")
    code, told, _ = await shell.run("whoami")
    assert ada.name in told
    for secret in (kept["access_token"], kept["refresh_token"]):
        assert secret not in told + said
    assert (await shell.run("logout"))[:2] == (0, "signed out\n")

    assert not shell.file.exists()
    grant = {
        "grant_type": "refresh_token",
        "client_id": "app:carnet-cli",
        "refresh_token": kept["refresh_token"],
    }
    async with httpx.AsyncClient(base_url=shell.stack.url) as http:
        assert (await http.post("/oauth/token", data=grant)).json()["error"] == "invalid_grant"
    code, _, failed = await shell.run("whoami")
    assert (code, failed) == (1, "carnet: not signed in; run: carnet login\n")
    assert (await shell.run("logout"))[:2] == (0, "signed out\n")


async def test_tokens_that_are_old_are_renewed_once_whoever_asks(shell: Shell, ada: User) -> None:
    """Of two commands at once one refreshes: the second use of one token would end the session."""
    await log_in(shell, ada)
    file = CredentialFile(shell.file.parent)
    before = file.read()
    file.write(before.model_copy(update={"expires_at": time.time()}))

    answers = await asyncio.gather(*(shell.run("whoami") for _ in range(3)))

    assert [code for code, _, _ in answers] == [0, 0, 0], answers
    after = file.read()
    assert after.refresh_token != before.refresh_token
    assert after.expires_at > time.time() + 600


async def test_a_session_that_was_ended_elsewhere_is_said_and_forgotten(
    shell: Shell, ada: User
) -> None:
    await log_in(shell, ada)
    file = CredentialFile(shell.file.parent)
    kept = file.read()
    file.write(kept.model_copy(update={"expires_at": 0.0, "refresh_token": "unknown"}))

    code, _, failed = await shell.run("whoami")

    assert (code, failed) == (1, "carnet: the session has ended; run: carnet login\n")
    assert not shell.file.exists()


async def test_who_does_not_allow_it_is_not_signed_in(shell: Shell, ada: User) -> None:
    async with logging_in(shell) as (process, address):
        await decide(address, "deny", ada)
        async with asyncio.timeout(PATIENCE):
            _, failed = await process.communicate()

    assert process.returncode == 1
    assert failed.decode() == "carnet: it was not allowed in the browser\n"
    assert not shell.file.exists()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://carnet.example", "tokens would travel in the clear; use https://"),
        ("http://127.0.0.1:1", "does not answer"),
        ("ftp://127.0.0.1", "use https://"),
    ],
)
async def test_a_gateway_that_cannot_be_is_one_line(shell: Shell, url: str, says: str) -> None:
    code, said, failed = await shell.run("login", CARNET_URL=url)

    assert (code, said) == (1, "")
    assert failed.count("\n") == 1
    assert says in failed


async def test_a_gateway_by_another_name_than_its_own_is_not_trusted(shell: Shell) -> None:
    """RFC 8414 §3.3: else whoever is asked could name somebody else's endpoints."""
    url = shell.stack.url.replace("127.0.0.1", "localhost")

    code, _, failed = await shell.run("login", CARNET_URL=url)

    assert code == 1
    assert f"calls itself {shell.stack.url}" in failed


async def test_a_logout_that_reaches_nobody_keeps_the_tokens_unless_told(shell: Shell) -> None:
    CredentialFile(shell.file.parent).write(CREDENTIALS)

    code, _, failed = await shell.run("logout")
    assert code == 1
    assert "carnet logout --forget" in failed
    assert shell.file.exists()
    assert (await shell.run("logout", "--forget"))[0] == 0

    assert not shell.file.exists()


async def test_a_logout_that_the_gateway_refuses_is_none(shell: Shell, ada: User) -> None:
    await log_in(shell, ada)
    file = CredentialFile(shell.file.parent)
    file.write(file.read().model_copy(update={"refresh_token": ""}))

    code, said, failed = await shell.run("logout")

    assert (code, said) == (1, "")
    assert "/oauth/revoke: answers 400; try again, or run: carnet logout --forget" in failed
    assert shell.file.exists()


async def test_a_logout_of_nobody_ends_nothing(shell: Shell) -> None:
    code, said, _ = await shell.run("logout", "--json")

    assert (code, json.loads(said)) == (0, {"ended": False})


async def test_who_logs_in_again_has_one_session(shell: Shell, ada: User) -> None:
    await log_in(shell, ada)
    former = CredentialFile(shell.file.parent).read()

    await log_in(shell, ada)

    grant = {
        "grant_type": "refresh_token",
        "client_id": "app:carnet-cli",
        "refresh_token": former.refresh_token,
    }
    async with httpx.AsyncClient(base_url=shell.stack.url) as http:
        assert (await http.post("/oauth/token", data=grant)).json()["error"] == "invalid_grant"
    assert (await shell.run("whoami"))[0] == 0


async def test_a_former_session_that_cannot_be_ended_is_named_and_in_nobodys_way(
    shell: Shell, ada: User
) -> None:
    CredentialFile(shell.file.parent).write(CREDENTIALS)

    async with logging_in(shell) as (process, address):
        await decide(address, "allow", ada)
        async with asyncio.timeout(PATIENCE):
            said, failed = await process.communicate()

    assert (process.returncode, said.decode().startswith("signed in as")) == (0, True)
    assert failed.decode().startswith("carnet: the session before goes on: ")
    assert CredentialFile(shell.file.parent).read().issuer == shell.stack.url


async def test_a_scope_that_the_command_line_may_not_ask_for_is_one_line(shell: Shell) -> None:
    code, said, failed = await shell.run("login", "--scope", "orders:read orders:read-all")

    assert (code, said) == (1, "")
    assert failed == (
        "carnet: carnet login may not ask for all of the scope 'orders:read orders:read-all'; "
        "without --scope it asks for all that it may\n"
    )


@pytest.mark.parametrize(
    "changed",
    [{"name": "ada\x1b[2J"}, {"roles": ["\x9b2J"]}, {"scope": None}, {"since": "today"}],
    ids=str,
)
def test_what_a_gateway_says_of_a_session_is_plain_text(changed: dict[str, object]) -> None:
    session = {
        "sid": "1",
        "sub": "2",
        "name": "ada",
        "roles": ["customer"],
        "client_id": "app:carnet-cli",
        "scope": "orders:read",
        "since": 0,
    }
    said = httpx.MockTransport(lambda _: httpx.Response(200, json={**session, **changed}))

    with (
        httpx.Client(transport=said) as http,
        pytest.raises(StartError, match="is no gateway of Carnet's"),
    ):
        current_session(http, "https://carnet.example", "token")


CREDENTIALS = Credentials(
    issuer="http://127.0.0.1:1",
    access_token="access",
    refresh_token="refresh",
    expires_at=2.0**33,
    scope="orders:read",
)


def test_tokens_that_others_may_read_are_not_used(tmp_path: Path) -> None:
    file = CredentialFile(tmp_path / "carnet")
    with pytest.raises(NotSignedInError):
        file.read()
    file.write(CREDENTIALS)
    assert file.read() == CREDENTIALS
    assert "refresh" not in repr(file.read()).replace("refresh_token", "")

    file.path.chmod(0o640)
    with pytest.raises(StartError, match="chmod 600"):
        file.read()
    file.write(CREDENTIALS)
    assert file.read() == CREDENTIALS
    file.path.write_text("{")
    with pytest.raises(StartError, match="--forget"):
        file.read()


async def test_an_operator_adds_lists_and_removes_clients(shell: Shell, tmp_path: Path) -> None:
    database = {"CARNET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'users.db'}"}
    address = "https://notes.example/callback"

    added = await shell.run(
        "clients", "add", "notes", "--title", "Notes", "--redirect-uri", address, **database
    )
    listed = await shell.run("clients", "list", "--json", **database)
    table = await shell.run("clients", "list", **database)
    bad = await shell.run(
        "clients", "add", "bad", "--redirect-uri", "http://x.example/", **database
    )
    removed = await shell.run("clients", "remove", "app:notes", **database)

    assert added[:2] == (0, "added app:notes\n")
    clients = {client["client_id"]: client for client in json.loads(listed[1])}
    assert clients.keys() == {"app:carnet-cli", "app:notes"}
    assert clients["app:notes"]["redirect_uris"] == [address]
    assert clients["app:notes"]["scopes"] == ["orders:read", "orders:write"]
    assert address in table[1]
    assert bad[0] == 1
    assert bad[2].count("\n") == 1
    assert "use https://" in bad[2]
    assert removed[:2] == (0, "removed app:notes; 0 sessions are ended\n")


async def test_an_operator_gives_a_client_the_scopes_of_services_of_ones_own(
    shell: Shell, tmp_path: Path
) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[3] / "examples" / "billing" / "service.toml", folder)
    database = {"CARNET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'users.db'}"}
    add = ("clients", "add", "till", "--devices", "--scope", "billing:refund")

    unknown = await shell.run(*add, **database)
    added = await shell.run(*add, CARNET_SERVICES=str(folder), **database)

    assert unknown[0] == 1
    assert "there is no scope billing:refund" in unknown[2]
    assert added[:2] == (0, "added app:till\n")
