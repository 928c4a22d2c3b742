"""`carnet keys`: which of the issuer's keys signs, and changing to the next."""

from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from services.cli.answer import Json, answer, print_json
from services.cli.issuer import IssuerParts, on_issuer
from services.cli.statement import when
from services.users.acts import Asker
from services.users.audit import What
from services.users.rotation import BY_HAND, KeyView

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


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="Its id, as carnet keys list shows it.")],
    *,
    json_output: Json = False,
) -> None:
    """Have a key never sign, or never again: the next one does, where it is the one that signs.

    What it has signed is believed as before: to void that too, the trust root withdraws the key
    (carnet trust withdraw issuer --kid KID). Do so as well with a key that never signed.

    Examples:
      carnet keys retire NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
    """
    signing = on_issuer(lambda parts: _retire(parts, kid))
    line = f"{kid} does not sign from now on; the issuer signs with {signing}"
    answer(line, {"retired": kid, "kid": signing}, as_json=json_output)


async def _rotate(parts: IssuerParts) -> str:
    await parts.keys.begin()
    async with parts.register.acts.of(Asker.operator(), What.ROTATE_KEY) as act:
        return await parts.rotation.rotate(act, why=BY_HAND)


async def _retire(parts: IssuerParts, kid: str) -> str:
    await parts.keys.begin()
    async with parts.register.acts.of(Asker.operator(), What.RETIRE_KEY) as act:
        return await parts.rotation.retire(act, kid)


def _signs(key: KeyView) -> str:
    if key.since is None:
        return "not yet" if key.retired_at is None else "never"
    if key.retired_at is None:
        return f"since {when(key.since)}"
    return f"{when(key.since)} to {when(key.retired_at)}"
