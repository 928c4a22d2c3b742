"""`carnet accounts`: works on the user service's database itself, for its operator."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console
from rich.table import Column, Table

from messaging.database import open_database
from messaging.migrations import upgrade
from messaging.rpc import Refused
from services.contracts.scopes import CUSTOMER, ROLES
from services.contracts.users import Register
from services.errors import StartError
from services.settings import Settings, read_settings
from services.users.accounts import Accounts
from services.users.passwords import Passwords
from services.users.store import MIGRATIONS, Account

app: Final = typer.Typer(help="The accounts of the user service.", no_args_is_help=True)

T = TypeVar("T")

Name: TypeAlias = Annotated[str, typer.Argument(help="Login name.")]
Roles: TypeAlias = Annotated[
    list[str], typer.Option("--role", help=f"One of {', '.join(ROLES)}; repeatable.")
]
PasswordFile: TypeAlias = Annotated[
    typer.FileText | None,
    typer.Option(help="File with the password, - for standard input; without it, it is asked for."),
]


class AccountSettings(Settings):
    """Where the database is: at its URL, or in the local stack's state folder."""

    state: Path = Path(".carnet")
    database_url: SecretStr | None = None


@app.command()
def add(
    name: Name,
    *,
    role: Roles = [CUSTOMER],  # noqa: B006 - typer reads it, nobody changes it
    password_file: PasswordFile = None,
) -> None:
    """Make an account.

    A password is never taken from the command line, where others could read it.
    """
    _check_roles(role)
    password = _read_password(password_file)
    _check(name, password)
    account = _run(lambda accounts: accounts.add(name, password, role))
    _say(f"added {account.name} ({', '.join(account.roles)}), subject {account.sub}")


@app.command(name="list")
def list_accounts(
    *, json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List all accounts by name."""
    accounts = _run(lambda accounts: accounts.list())
    if json_output:
        sys.stdout.write(f"{json.dumps([_as_json(account) for account in accounts], indent=2)}\n")
        return
    subject = Column("subject", no_wrap=True, min_width=36)
    table = Table("name", Column("roles", overflow="fold"), "enabled", "since", subject)
    for account in accounts:
        since = f"{datetime.fromtimestamp(account.created_at, UTC):%Y-%m-%d}"
        enabled = "yes" if account.enabled else "no"
        table.add_row(account.name, "\n".join(account.roles), enabled, since, account.sub)
    Console().print(table)


@app.command()
def password(name: Name, *, password_file: PasswordFile = None) -> None:
    """Change a password, which ends all of the account's sessions."""
    new = _read_password(password_file)
    _check(name, new)
    _run(lambda accounts: accounts.change_password(name, new))
    _say(f"changed the password of {name}; all sessions are ended")


@app.command()
def roles(name: Name, *, role: Roles) -> None:
    """Change an account's roles, which ends all of its sessions."""
    _check_roles(role)
    _run(lambda accounts: accounts.change_roles(name, role))
    _say(f"{name} is {', '.join(sorted(set(role)))} now; all sessions are ended")


@app.command()
def disable(name: Name) -> None:
    """End an account's access: its sessions now, its carnets within their five minutes."""
    _run(lambda accounts: accounts.disable(name))
    _say(f"{name} may not sign in; all sessions are ended")


@app.command()
def enable(name: Name) -> None:
    """Let an account sign in again."""
    _run(lambda accounts: accounts.enable(name))
    _say(f"{name} may sign in")


def _run(work: Callable[[Accounts], Awaitable[T]]) -> T:
    """Do the work on the database, brought up to date before.

    Raises:
        StartError: it was refused, as the user service would refuse it.
    """
    url = _database_url(read_settings(AccountSettings))

    async def run() -> T:
        await upgrade(url, MIGRATIONS)
        database = open_database(url)
        try:
            return await work(Accounts(database, Passwords(), time.time))
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except Refused as refused:
        raise StartError(refused.detail) from refused


def _database_url(settings: AccountSettings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    if not settings.state.is_dir():
        raise StartError(
            f"no database: set CARNET_DATABASE_URL, or CARNET_STATE to the folder of a local "
            f"stack ({settings.state} is none)"
        )
    data = settings.state / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    return f"sqlite+aiosqlite:///{data / 'users.db'}"


def _read_password(file: typer.FileText | None) -> str:
    """The password, asked for twice at a terminal; a file's trailing line break is not of it."""
    try:
        if file is not None:
            return file.read().rstrip("\r\n")
        if not sys.stdin.isatty():
            return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise StartError("the password is not UTF-8") from error
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def _check(name: str, password: str) -> None:
    """The same rules as for those who register themselves."""
    try:
        Register(name=name, password=password)
    except ValidationError as error:
        wrong = {fault["loc"][0] for fault in error.errors(include_input=False)}
        meant = {field: Register.model_fields[str(field)].description for field in wrong}
        raise StartError("; ".join(f"{field}: {text}" for field, text in meant.items())) from None


def _check_roles(roles: list[str]) -> None:
    unknown = sorted(set(roles) - ROLES.keys())
    if unknown:
        raise typer.BadParameter(f"no role {', '.join(unknown)}: there are {', '.join(ROLES)}")


def _as_json(account: Account) -> dict[str, object]:
    return {
        "sub": account.sub,
        "name": account.name,
        "roles": account.roles,
        "enabled": account.enabled,
        "epoch": account.epoch,
        "created_at": account.created_at,
    }


def _say(line: str) -> None:
    Console().print(line, highlight=False, markup=False, soft_wrap=True)
