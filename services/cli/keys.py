"""`carnet keys`: which of the issuer's keys signs, and changing to the next."""

from dataclasses import asdict
from typing import Final

import typer
from rich.console import Console
from rich.table import Column, Table

from services.cli.answer import Json, answer, print_json
from services.cli.issuer import IssuerParts, on_issuer
from services.cli.statement import when
from services.users.acts import Asker
from services.users.rotation import KeyView

app: Final = typer.Typer(help="The issuer's own keys, and which one signs.", no_args_is_help=True)

_KID = 43  # characters of a SHA-256 in base64url: to be copied, never cut


@app.command(name="list")
def list_keys(*, json_output: Json = False) -> None:
    """List the issuer's keys, the oldest first: listed as what, signing from when to when.

    Examples:
      carnet keys list
      carnet keys list --json
    """
    keys = on_issuer(lambda parts: parts.rotation.view())
    if json_output:
        print_json([asdict(key) for key in keys])
        return
    table = Table(Column("key", no_wrap=True, min_width=_KID), "listed as", "signs", "key file")
    for key in keys:
        here = "here" if key.here else "not here"
        style = "green" if key.signing else "dim" if key.retired_at else ""
        table.add_row(key.kid, key.state or "withdrawn", _signs(key), here, style=style)
    Console().print(table)


@app.command()
def rotate(*, json_output: Json = False) -> None:
    """Let the next key sign from now on, and the present one never again.

    The trust root has listed it at least 30 s ago, and its private key is in the issuer's
    folder. All replicas follow within a second; what the old key signed holds. The user service
    does the same by itself after CARNET_ISSUER_KEY_LIFE (30 days).

    Examples:
      carnet keys rotate
    """
    kid = on_issuer(_rotate)
    answer(f"the issuer signs with {kid} now", {"kid": kid}, as_json=json_output)


async def _rotate(parts: IssuerParts) -> str:
    await parts.keys.begin()
    return await parts.rotation.rotate(Asker.operator(), why="by hand")


def _signs(key: KeyView) -> str:
    if key.since is None:
        return "not yet" if key.retired_at is None else "never"
    if key.retired_at is None:
        return f"since {when(key.since)}"
    return f"{when(key.since)} to {when(key.retired_at)}"
