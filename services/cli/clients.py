"""`carnet clients`: the apps that users sign in with, in the user service's database."""

from typing import Annotated, Final

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from services.cli.answer import Json, answer, print_json
from services.cli.issuer import on_register
from services.cli.token import plain
from services.contracts.scopes import ROLES
from services.users.acts import Asker
from services.users.clients import DEFAULT_SCOPES
from services.users.scope import given_by
from services.users.store import PublicClient

app: Final = typer.Typer(
    help="Public OAuth clients: the apps that users sign in with.", no_args_is_help=True
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its client id is app:NAME.")],
    *,
    redirect_uri: Annotated[
        list[str],
        typer.Option(
            help="Where users are led back to, to the letter; repeatable. https://…, or on the "
            "user's own machine http://127.0.0.1/… with any port, or com.example.app:/…"
        ),
    ] = [],  # noqa: B006 - typer reads it, nobody changes it
    title: Annotated[
        str | None, typer.Option(help="What users are told that it is called.")
    ] = None,
    scope: Annotated[
        list[str],
        typer.Option(
            help=f"What it may ask for: {', '.join(sorted(given_by(ROLES)))}, and what services "
            "of one's own declare."
        ),
    ] = list(DEFAULT_SCOPES),  # noqa: B006 - likewise
    devices: Annotated[
        bool, typer.Option("--devices", help="It may sign users in on devices (RFC 8628).")
    ] = False,
    json_output: Json = False,
) -> None:
    """Let an app sign users in. It needs no secret: it proves itself by PKCE (RFC 7636).

    What it gets, a user gives it, and never more than that user may do.

    Examples:
      carnet clients add notes --title 'Notes' --redirect-uri https://notes.example/callback
      carnet clients add desktop --redirect-uri http://127.0.0.1/callback --scope orders:read
    """
    client_id = on_register(
        lambda register: register.clients.add(
            Asker.operator(),
            name,
            title=name if title is None else title,
            redirect_uris=redirect_uri,
            scopes=scope,
            devices=devices,
        ),
        with_services=True,
    )
    answer(f"added {client_id}", {"client_id": client_id}, as_json=json_output)


@app.command(name="list")
def list_clients(*, json_output: Json = False) -> None:
    """List all public clients. Carnet's own command line is one of them.

    Examples:
      carnet clients list
    """
    clients = on_register(lambda register: register.clients.list())
    if json_output:
        print_json([_as_json(client) for client in clients])
        return
    table = Table(
        Column("client id", no_wrap=True),
        "title",
        Column("redirect URIs", overflow="fold"),
        Column("scopes", overflow="fold"),
        "devices",
        box=SIMPLE,
    )
    for client in clients:
        table.add_row(
            client.client_id,
            plain(client.title),
            "\n".join(client.redirect_uris),
            "\n".join(client.scopes),
            "yes" if client.devices else "no",
        )
    Console().print(table)


@app.command()
def remove(
    client_id: Annotated[str, typer.Argument(help="As in the list: app:NAME.")],
    *,
    json_output: Json = False,
) -> None:
    """Remove a client, and end all sessions that users have with it, now.

    Examples:
      carnet clients remove app:notes
    """
    ended = on_register(lambda register: register.clients.remove(Asker.operator(), client_id))
    answer(
        f"removed {client_id}; {ended} sessions are ended",
        {"client_id": client_id, "sessions_ended": ended},
        as_json=json_output,
    )


def _as_json(client: PublicClient) -> dict[str, object]:
    return {
        "client_id": client.client_id,
        "title": client.title,
        "redirect_uris": client.redirect_uris,
        "scopes": client.scopes,
        "devices": client.devices,
        "created_at": client.created_at,
    }
