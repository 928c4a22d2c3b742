"""Private keys of the services on this machine, made where they are missing.

keys/<client>/seal.pem, enc.pem          each service's own
keys/<client>/seal.next.pem              listed, and not yet used
…/<name>.<date>.withdrawn                what no statement lists any more; nothing reads it
keys/user-service/issuer/<kid>.pem       the issuer's, the active one among them

A key file is never overwritten.
"""

from pathlib import Path
from typing import Final

from auth.encryption import DecryptionKey
from auth.errors import KeyFileError
from auth.keys import SigningKey
from services.contracts.topology import USER_SERVICE
from services.identity import ENCRYPTION_KEY, SEAL_KEY

ISSUER: Final = "issuer"
"""Folder of the issuer's keys beside the user service's own, and its name in `carnet trust`."""
NEXT_SEAL_KEY: Final = "seal.next.pem"


class Keyring:
    def __init__(self, folder: Path, passphrase: bytes | None) -> None:
        self._folder = folder
        self._passphrase = passphrase

    def has(self, owner: str) -> bool:
        """Whether the keys of this party are kept here."""
        return self._home(owner).is_dir()

    def seal(self, client_id: str) -> SigningKey:
        """The key that the client seals with, made now if it is not there.

        Raises:
            KeyFileError: it is there and cannot be used.
        """
        return self._signing(self._home(client_id) / SEAL_KEY)

    def encryption(self, client_id: str) -> DecryptionKey:
        """The key that opens what is written to the client, made now if it is not there.

        Raises:
            KeyFileError: it is there and cannot be used.
        """
        path = self._home(client_id) / ENCRYPTION_KEY
        if not path.exists():
            DecryptionKey.generate().save(path, self._passphrase)
        return DecryptionKey.load(path, self._passphrase)

    def issuer(self) -> list[SigningKey]:
        """All of the issuer's keys that are here.

        Raises:
            KeyFileError: one cannot be used.
        """
        paths = sorted(self._home(ISSUER).glob("*.pem"))
        return [SigningKey.load(path, self._passphrase) for path in paths]

    def make_next(self, owner: str) -> SigningKey:
        """Make the key that is to follow the owner's active one, or take the one made before.

        Raises:
            KeyFileError: it cannot be used or written.
        """
        if owner != ISSUER:
            return self._signing(self._home(owner) / NEXT_SEAL_KEY)
        key = SigningKey.generate()
        key.save(self._home(ISSUER) / f"{key.kid}.pem", self._passphrase)
        return key

    def promote(self, owner: str, kid: str) -> None:
        """Put a client's next key in the place of its present one, which is kept by its `kid`.

        Does nothing where that is done already, or where the key is not kept here.

        Raises:
            KeyFileError: a key cannot be read or moved.
        """
        upcoming, present = self._home(owner) / NEXT_SEAL_KEY, self._home(owner) / SEAL_KEY
        if not upcoming.exists() or SigningKey.load(upcoming, self._passphrase).kid != kid:
            return
        retired = SigningKey.load(present, self._passphrase) if present.exists() else None
        try:
            # First a second name, so that at no moment there is no key to seal with.
            if retired is not None:
                present.with_name(f"seal.{retired.kid}.pem").hardlink_to(present)
            upcoming.replace(present)
        except OSError as error:
            raise KeyFileError(f"{present}: cannot be replaced: {error.strerror}") from error

    def set_aside(self, owner: str, kid: str | None, *, now: float) -> list[Path]:
        """Rename the owner's private keys that are here, or that one, so that none is used again.

        A key that cannot be read, and so not be told from others, stays where it is.

        Raises:
            KeyFileError: a file cannot be renamed.
        """
        moved = []
        for path in sorted(self._home(owner).glob("*.pem")):
            if kid is not None and not self._is(path, kid):
                continue
            aside = path.with_name(f"{path.name}.{int(now)}.withdrawn")
            try:
                moved.append(path.rename(aside))
            except OSError as error:
                raise KeyFileError(f"{path}: cannot be renamed: {error.strerror}") from error
        return moved

    def _is(self, path: Path, kid: str) -> bool:
        if path.name == ENCRYPTION_KEY:
            return False
        try:
            return SigningKey.load(path, self._passphrase).kid == kid
        except KeyFileError:
            return False

    def _home(self, owner: str) -> Path:
        if owner == ISSUER:
            return self._folder / USER_SERVICE / ISSUER
        return self._folder / owner

    def _signing(self, path: Path) -> SigningKey:
        if not path.exists():
            SigningKey.generate().save(path, self._passphrase)
        return SigningKey.load(path, self._passphrase)
