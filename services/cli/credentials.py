"""Where `carnet login` keeps its tokens: one file, for its owner alone."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.errors import StartError

_FILE: Final = "credentials.json"
_LOCK: Final = "credentials.lock"
_OTHERS: Final = 0o077


class NotSignedInError(StartError):
    """There are no tokens, or none that count any more."""

    code = "not_signed_in"


class Credentials(BaseModel):
    """The tokens of one session, and where they count. `expires_at`: the access token's end."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    issuer: str
    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    expires_at: float
    scope: str


class CredentialFile:
    """The file, in the user's folder of settings (`$XDG_CONFIG_HOME/carnet` on Linux)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(typer.get_app_dir("carnet"))

    @property
    def path(self) -> Path:
        return self._folder / _FILE

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the file: of two who refresh one token, the second would end the session.

        Raises:
            StartError: the folder cannot be used.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise StartError(f"{self._folder}: cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> Credentials:
        """The tokens.

        Raises:
            NotSignedInError: there are none.
            StartError: others can read the file, or it is none of ours.
        """
        try:
            with self.path.open(encoding="utf-8") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
                    raise StartError(f"{self.path}: others may read it; run: chmod 600 {self.path}")
                return Credentials.model_validate_json(file.read())
        except FileNotFoundError as error:
            raise NotSignedInError("not signed in; run: carnet login") from error
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise StartError(f"{self.path}: cannot be read; run: carnet logout --forget") from error

    def write(self, credentials: Credentials) -> None:
        """Replace the file at once, readable for its owner alone from the first byte on."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=f".{_FILE}.")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(credentials.model_dump_json(indent=2))
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StartError(f"{self.path}: cannot be written: {error.strerror}") from error

    def delete(self) -> None:
        """Whether it was there or not."""
        self.path.unlink(missing_ok=True)
