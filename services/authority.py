"""The operator's side of trust: a folder with the trust root and the statement it signed.

root/root.pem      the trust root's private key: keep it apart from every service
trust-root.json    its public half, in every party's settings
key-set.jwt        the present key set statement
keys/<client>/     private keys that were made here
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from auth.errors import KeySetError, MalformedTokenError
from auth.keys import SigningKey
from auth.keyset import MAX_STATEMENT, KeySet, TrustRoot
from auth.statement import STATEMENT_LIFE, KeySetDraft
from auth.strict import parse_json_object, parse_token
from services.errors import StartError

ROOT_KEY: Final = Path("root", "root.pem")
TRUST_ROOT: Final = Path("trust-root.json")
KEY_SET: Final = Path("key-set.jwt")
KEYS: Final = Path("keys")
ALARM: Final = 30 * 24 * 3600
"""Seconds before its end from which on a statement should be signed anew."""

_LOCK: Final = ".lock"


class Authority:
    """Makes and signs key set statements, each the successor of a verified one."""

    def __init__(self, state: Path, passphrase: bytes | None = None) -> None:
        """`passphrase`: of the trust root's private key, where it is encrypted."""
        self._state = state
        self._passphrase = passphrase

    @property
    def keys(self) -> Path:
        return self._state / KEYS

    @property
    def exists(self) -> bool:
        return (self._state / ROOT_KEY).exists()

    @property
    def has_statement(self) -> bool:
        return (self._state / KEY_SET).exists()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder, so that no two make the same version. The kernel frees it."""
        folder = self._state / ROOT_KEY.parent
        with _file_errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (folder / _LOCK).open("a")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def ensure_root(self) -> None:
        """Make the trust root where there is none, and its public half where that is missing.

        Raises:
            KeyFileError: the private key that is there cannot be used; it is never overwritten.
        """
        if not self.exists:
            SigningKey.generate().save(self._state / ROOT_KEY, self._passphrase)
        if not (self._state / TRUST_ROOT).exists():
            root = SigningKey.load(self._state / ROOT_KEY, self._passphrase)
            jwks = TrustRoot([root.public]).to_jwks()
            self._write(TRUST_ROOT, f"{json.dumps(jwks, indent=2)}\n")

    def current(self, *, now: float) -> KeySet:
        """The present statement.

        Raises:
            StartError: a file cannot be read.
            KeySetError: it is not the root's, is void or expired.
        """
        return self._root().verify(self._read(KEY_SET), now=now)

    def latest(self) -> KeySet:
        """The present statement even if it has expired, to be succeeded.

        Raises:
            StartError, KeySetError: as `current`.
        """
        statement = self._read(KEY_SET).strip()
        return self._root().verify(statement, now=_signed_at(statement))

    def publish(self, draft: KeySetDraft, *, now: float, life: int = STATEMENT_LIFE) -> KeySet:
        """Sign a draft and put it in the place of the present statement.

        Raises:
            KeyFileError: the root's private key cannot be used.
            KeySetError: the draft would not be believed, by which nothing is changed.
        """
        root = SigningKey.load(self._state / ROOT_KEY, self._passphrase)
        statement = draft.sign(root, now=now, life=life)
        key_set = self._root().verify(statement, now=now)
        self._write(KEY_SET, f"{statement}\n")
        return key_set

    def _root(self) -> TrustRoot:
        return TrustRoot.from_json(self._read(TRUST_ROOT).encode())

    def _read(self, name: Path) -> str:
        with _file_errors():
            return (self._state / name).read_text(encoding="utf-8")

    def _write(self, name: Path, text: str) -> None:
        """Replace the file at once: a reader sees the old one or the new one, whole."""
        with _file_errors():
            descriptor, temporary = tempfile.mkstemp(dir=self._state, prefix=f".{name}.")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                    os.fchmod(file.fileno(), 0o644)  # public; services may run as another user
                Path(temporary).replace(self._state / name)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise


@contextlib.contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StartError(f"{error.filename}: is not there; run: carnet trust init") from error
    except (OSError, UnicodeDecodeError) as error:
        name = getattr(error, "filename", None) or "the state folder"
        raise StartError(f"{name}: cannot be used: {error}") from error


def _signed_at(unverified_statement: str) -> float:
    """When a statement says it was signed: an expired one is judged as of then."""
    try:
        token = parse_token(unverified_statement, limit=MAX_STATEMENT)
        iat = parse_json_object(token.unverified_payload).get("iat")
    except (MalformedTokenError, ValueError) as error:
        raise KeySetError(f"{KEY_SET}: is no statement") from error
    return float(iat) if isinstance(iat, int) else 0.0
