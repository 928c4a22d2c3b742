"""How a `carnet trust` command finds the operator's folder and changes the statement in it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from pydantic import Field, SecretStr

from auth.keyset import KeySet
from auth.statement import STATEMENT_LIFE, KeySetDraft
from services.authority import Authority
from services.cli.answer import answer
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


Change: TypeAlias = Callable[[KeySetDraft, Keyring], str]
"""Changes the statement to come, and says in a line what was done."""


@dataclass(frozen=True, slots=True)
class Amended:
    """The statement that was signed, and what is new in it."""

    done: str
    key_set: KeySet

    def tell(self, *more: str, as_json: bool) -> None:
        """Say it; `more` are lines on what else was done."""
        until = when(self.key_set.expires_at)
        answer(
            "\n".join(
                (
                    self.done,
                    f"signed version {self.key_set.version}, believed until {until}",
                    *more,
                )
            ),
            {
                "done": [self.done, *more],
                "version": self.key_set.version,
                "exp": self.key_set.expires_at,
            },
            as_json=as_json,
        )


def amend(state: Path, change: Change, *, life: int = STATEMENT_LIFE) -> Amended:
    """Verify the present statement, change its successor, and sign that.

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
    return Amended(done, key_set)


def _secret(value: SecretStr | None) -> bytes | None:
    return None if value is None else value.get_secret_value().encode()
