"""Private keys at rest: PKCS #8 PEM files, encrypted or readable by their owner alone."""

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from auth.errors import KeyFileError

_ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_OTHERS: Final = 0o077
_LONGEST: Final = 64 * 1024


def write_private_key(path: Path, key: PrivateKeyTypes, passphrase: bytes | None) -> None:
    """Write a new key file with mode 0600; an existing one is never overwritten.

    passphrase: None for a file that is not encrypted. An empty one is refused: it is a setting
        that somebody forgot, and the key would lie open.

    Raises:
        KeyFileError: the passphrase is empty or too long, the file exists or cannot be written.
    """
    pem = _encode(path, key, passphrase)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _fill(descriptor, pem)
        except OSError:
            path.unlink()  # half a key would stand in the way of the next try
            raise
    except OSError as error:
        raise KeyFileError(f"{path}: cannot write the key: {error.strerror}") from error


def _fill(descriptor: int, pem: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def _encode(path: Path, key: PrivateKeyTypes, passphrase: bytes | None) -> bytes:
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        encryption = BestAvailableEncryption(passphrase)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    except ValueError as error:
        raise KeyFileError(f"{path}: the passphrase is empty, or over 1023 bytes") from error


def read_private_key(path: Path, passphrase: bytes | None) -> PrivateKeyTypes:
    """Read a key file that is encrypted, or closed to group and others.

    Raises:
        KeyFileError: says which file, what is wrong and what to do.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_LONGEST)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot read the key: {error.strerror}") from error
    encrypted = _ENCRYPTED in pem
    if encrypted and not passphrase:
        raise KeyFileError(f"{path}: is encrypted; give its passphrase")
    if not encrypted and mode & _OTHERS:
        raise KeyFileError(
            f"{path}: is readable by others (mode {mode:04o}); run: chmod 600 {path}"
        )
    try:
        return load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = "wrong passphrase, or no key" if encrypted else "no private key in PEM form"
        raise KeyFileError(f"{path}: {reason}") from error
