"""`carnet accounts`: works on the user service's database itself, for its operator."""

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table

from services.cli.answer import Json, answer, print_json
from services.cli.issuer import on_register
from services.cli.statement import when
from services.contracts.administration import SessionView
from services.contracts.scopes import CUSTOMER, ROLES
from services.contracts.users import Register
from services.errors import StartError
from services.users.accounts import Accounts
from services.users.acts import Asker
from services.users.assembly import Register as Parts
from services.users.store import Account

app: Final = typer.Typer(help="The accounts of the user service.", no_args_is_help=True)

T = TypeVar("T")

Name: TypeAlias = Annotated[str, typer.Argument(help="Login name.")]
Roles: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--role",
        help=f"One of {', '.join(ROLES)}; repeatable.",
        autocompletion=lambda: list(ROLES),
    ),
]
PasswordFile: TypeAlias = Annotated[
    typer.FileText | None,
    typer.Option(help="File with the password, - for standard input; without it, it is asked for."),
]


@app.command()
def add(
    name: Name,
    *,
    role: Roles = [CUSTOMER],  # noqa: B006 - typer reads it, nobody changes it
    password_file: PasswordFile = None,
    json_output: Json = False,
) -> None:
    """Make an account.

    A password is never taken from the command line, where others could read it.

    Examples:
      carnet accounts add ada
      carnet accounts add grace --role operator
      carnet accounts add grace --role operator --password-file grace.password
    """
    _check_roles(role)
    password = read_password(password_file, twice=True)
    _check(name, password)
    account = _run(lambda accounts: accounts.add(Asker.operator(), name, password, role))
    line = f"added {account.name} ({', '.join(account.roles)}), subject {account.sub}"
    answer(line, _as_json(account), as_json=json_output)


@app.command(name="list")
def list_accounts(
    *,
    search: Annotated[
        str | None, typer.Option(help="Only those with this in their name, or this subject.")
    ] = None,
    json_output: Json = False,
) -> None:
    """List accounts by name.

    Examples:
      carnet accounts list
      carnet accounts list --search ada --json
    """
    accounts = _run(lambda accounts: accounts.list(search))
    if json_output:
        print_json([_as_json(account) for account in accounts])
        return
    subject = Column("subject", no_wrap=True, min_width=36)
    table = Table("name", Column("roles", overflow="fold"), "enabled", "since", subject)
    for account in accounts:
        since = f"{datetime.fromtimestamp(account.created_at, UTC):%Y-%m-%d}"
        enabled = "yes" if account.enabled else "no"
        table.add_row(account.name, "\n".join(account.roles), enabled, since, account.sub)
    Console().print(table)


@app.command()
def sessions(name: Name, *, json_output: Json = False) -> None:
    """List an account's sessions, the latest first: through which client, and whether it is live.

    One is ended by carnet revoke --session SID. Those past their life are forgotten.

    Examples:
      carnet accounts sessions ada
      carnet accounts sessions ada --json
    """
    found = on_register(lambda register: _sessions(register, name))
    if json_output:
        print_json([view.model_dump(mode="json") for view in found])
        return
    sid = Column("session", no_wrap=True, min_width=36)
    table = Table(sid, Column("client", overflow="fold"), "since", "refreshed", "state")
    for view in found:
        state = "live" if view.live else view.ended_why or "ended"
        style = "" if view.live else "dim"
        since, used = when(view.created_at), when(view.used_at)
        table.add_row(view.sid, view.client_id, since, used, state, style=style)
    Console().print(table)


@app.command()
def password(name: Name, *, password_file: PasswordFile = None, json_output: Json = False) -> None:
    """Change a password, which ends all of the account's sessions and voids its tokens.

    Examples:
      carnet accounts password ada
      carnet accounts password ada --password-file - < ada.password
    """
    new = read_password(password_file, twice=True)
    _check(name, new)
    _run(lambda accounts: accounts.change_password(Asker.operator(), name, new))
    line = f"changed the password of {name}; all sessions are ended"
    answer(line, {"name": name, "changed": ["password"]}, as_json=json_output)


@app.command()
def roles(name: Name, *, role: Roles, json_output: Json = False) -> None:
    """Change an account's roles, which ends all of its sessions and voids its tokens.

    Examples:
      carnet accounts roles ada --role customer --role operator
    """
    _check_roles(role)
    _run(lambda accounts: accounts.change_roles(Asker.operator(), name, role))
    now = sorted(set(role))
    line = f"{name} is {', '.join(now)} now; all sessions are ended"
    answer(line, {"name": name, "roles": now}, as_json=json_output)


@app.command()
def disable(name: Name, *, json_output: Json = False) -> None:
    """End an account's access now: its sessions, its tokens, and what is queued under them.

    Examples:
      carnet accounts disable mallory
    """
    _run(lambda accounts: accounts.disable(Asker.operator(), name))
    line = f"{name} may not sign in; all sessions are ended"
    answer(line, {"name": name, "enabled": False}, as_json=json_output)


@app.command()
def enable(name: Name, *, json_output: Json = False) -> None:
    """Let an account sign in again.

    Examples:
      carnet accounts enable mallory
    """
    _run(lambda accounts: accounts.enable(Asker.operator(), name))
    answer(f"{name} may sign in", {"name": name, "enabled": True}, as_json=json_output)


async def _sessions(register: Parts, name: str) -> list[SessionView]:
    async with register.database.session() as work:
        account = await register.accounts.need(work, name)
        return await register.session_list.of(work, account)


def _run(work: Callable[[Accounts], Awaitable[T]]) -> T:
    """Do the work on the accounts.

    Raises:
        StartError: there is no database, or the work was refused.
    """
    return on_register(lambda register: work(register.accounts))


def read_password(file: typer.FileText | None, *, twice: bool) -> str:
    """The password, asked for at a terminal; a file's trailing line break is not of it.

    twice: whether it is a new one, and a slip would lock its owner out.

    Raises:
        StartError: it is not UTF-8.
    """
    try:
        if file is not None:
            return file.read().rstrip("\r\n")
        if not sys.stdin.isatty():
            return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise StartError("the password is not UTF-8") from error
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True)
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
