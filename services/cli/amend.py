"""How a `carnet trust` command finds the operator's folder and changes the statement in it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from pydantic import Field, SecretStr
from rich.console import Console

from auth.statement import STATEMENT_LIFE, KeySetDraft
from services.authority import Authority
from services.cli.statement import when
from services.errors import StartError
from services.keyring import Keyring
from services.settings import KEY_OPENER, Settings, read_settings

State: TypeAlias = Annotated[
    Path, typer.Option(envvar="CARNET_STATE", help="Folder with the trust root and the statement.")
]
STATE: Final = Path(".carnet")


class TrustSettings(Settings):
    """Passphrases of private keys, by `CARNET_…` or `CARNET_…_FILE`; never by argument."""

    root_passphrase: SecretStr | None = Field(
        default=None, description="Passphrase of the trust root's private key, where it has one"
    )
    key_passphrase: SecretStr | None = Field(default=None, description=KEY_OPENER)


def key_passphrase() -> bytes | None:
    """The passphrase of the services' private keys.

    Raises:
        SettingsError: its file cannot be read.
    """
    return _secret(read_settings(TrustSettings).key_passphrase)


def open_folder(state: Path) -> tuple[Authority, Keyring]:
    """The folder's trust root and statement, and the private keys that are kept beside them.

    Raises:
        SettingsError: a passphrase's file cannot be read.
    """
    settings = read_settings(TrustSettings)
    authority = Authority(state, _secret(settings.root_passphrase))
    return authority, Keyring(authority.keys, _secret(settings.key_passphrase))


def amend(
    state: Path, change: Callable[[KeySetDraft, Keyring], str], *, life: int = STATEMENT_LIFE
) -> None:
    """Verify the present statement, change its successor, sign that, and say what was done.

    Raises:
        StartError, KeySetError, KeyFileError: nothing is changed.
    """
    authority, keyring = open_folder(state)
    if not authority.exists:
        raise StartError(f"{state}: no trust root's private key is here; run: carnet trust init")
    with authority.alone():
        draft = KeySetDraft.of(authority.latest())
        done = change(draft, keyring)
        key_set = authority.publish(draft, now=time.time(), life=life)
    Console().print(
        f"{done}\nsigned version {key_set.version}, believed until {when(key_set.expires_at)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _secret(value: SecretStr | None) -> bytes | None:
    return None if value is None else value.get_secret_value().encode()
