"""`carnet broker-keys`: whom the broker is to believe, where tokens log in there."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from services.cli.amend import STATE, State, open_folder
from services.cli.answer import Json, answer
from services.errors import StartError
from services.local.token_login import TokenLogin
from services.settings import BROKER_RESOURCE

CONFIGURATION: Final = "carnet-oauth2.conf"


def broker_keys(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made where it is missing.")],
    *,
    state: State = STATE,
    at: Annotated[
        Path | None, typer.Option(help="Where the broker will find the keys; FOLDER by default.")
    ] = None,
    resource: Annotated[
        str, typer.Option(help="The broker's name in the tokens: CARNET_BROKER_RESOURCE.")
    ] = BROKER_RESOURCE,
    json_output: Json = False,
) -> None:
    """Write the issuer's public keys, and the configuration by which RabbitMQ believes them.

    Those that sign or will, as files in PEM. Prints what makes a node that runs believe them
    too. Repeat it whenever the statement lists another key, and before that key signs.

    Examples:
      carnet broker-keys /etc/rabbitmq/carnet
      carnet broker-keys out --at /etc/rabbitmq/carnet --resource shop-broker
    """
    authority, _ = open_folder(state)
    now = time.time()
    login = TokenLogin.of(authority.current(now=now), resource, now=now)
    place = at or folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, key in login.files().items():
            (folder / name).write_bytes(key)
        (folder / CONFIGURATION).write_text(login.configuration(str(place)))
    except OSError as error:
        raise StartError(f"{error.filename or folder}: cannot write: {error.strerror}") from error
    # Of this name on RabbitMQ 3.10; 4 has it as well, beside add_signing_key.
    commands = [
        f"rabbitmqctl add_uaa_key {kid} --pem-file={place / kid}.pem" for kid in sorted(login.keys)
    ]
    files = sorted([*login.files(), CONFIGURATION])
    answer(
        "\n".join(commands),
        {"folder": str(folder), "files": files, "keys": sorted(login.keys), "commands": commands},
        as_json=json_output,
    )
