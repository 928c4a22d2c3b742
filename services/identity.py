"""Who a service is: its name and private keys; and whom it trusts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from auth.encryption import DecryptionKey
from auth.errors import KeyFileError, KeySetError
from auth.keys import SigningKey
from auth.keyset import KeySet, TrustRoot
from auth.seal import Sealer
from auth.trust import FixedTrust, TrustSource
from services.errors import StartError
from services.settings import ProcessSettings

SEAL_KEY: Final = "seal.pem"
SEAL_KEYS: Final = "seal*.pem"
ENCRYPTION_KEY: Final = "enc.pem"

log = structlog.get_logger(__name__)


class RotatingSealer(Sealer):
    """Seals with that key of the folder which the present key set lists as active.

    So a client's key rotates as the issuer's does: the next one is put into the folder and
    listed, and once a statement makes it active, it seals, with no restart.
    """

    def __init__(self, client_id: str, folder: Path, passphrase: bytes | None) -> None:
        """Load the folder's seal keys.

        Raises:
            KeyFileError: a key file is missing, open to others or locked by another passphrase.
        """
        # Another one where that was withdrawn; which one seals, `follow` decides.
        present = [folder / SEAL_KEY, *sorted(folder.glob(SEAL_KEYS))]
        path = next((path for path in present if path.exists()), folder / SEAL_KEY)
        super().__init__(client_id, SigningKey.load(path, passphrase))
        self._folder = folder
        self._passphrase = passphrase
        self._keys = {self._key.kid: self._key}
        self._trust: TrustSource | None = None
        self._version = 0

    def follow(self, trust: TrustSource) -> None:
        """Choose by this source from now on.

        Raises:
            StartError: it lists none of the folder's keys as this client's.
        """
        self._trust = trust
        client = trust.key_set.clients.get(self.client_id)
        self._look()
        if client is None or client.keys.keys().isdisjoint(self._keys):
            raise StartError(
                f"the key set statement does not list {self._folder / SEAL_KEY} as a key of "
                f"{self.client_id}; register it with: carnet trust register {self.client_id}"
            )

    def signing_key(self) -> SigningKey:
        if self._trust is not None and self._trust.key_set.version != self._version:
            self._look()
        return self._key

    def _look(self) -> None:
        """Choose anew, after another statement: once for each."""
        if self._trust is None:
            return
        key_set = self._trust.key_set
        self._version = key_set.version
        client = key_set.clients.get(self.client_id)
        active = {kid for kid, k in client.keys.items() if k.state == "active"} if client else set()
        if active.isdisjoint(self._keys):
            for path in sorted(self._folder.glob(SEAL_KEYS)):
                try:
                    key = SigningKey.load(path, self._passphrase)
                except KeyFileError as error:
                    log.warning("seal_key_unusable", detail=error.detail)
                else:
                    self._keys[key.kid] = key
        chosen = next((self._keys[kid] for kid in sorted(active) if kid in self._keys), None)
        if chosen is not None:
            self._key = chosen
        elif active:
            log.warning("active_seal_key_missing", client=self.client_id, version=self._version)


@dataclass(frozen=True, slots=True)
class Identity:
    """A service's name, its seal and the key that opens what is written to it."""

    client_id: str
    sealer: RotatingSealer
    decryption: DecryptionKey


def load_identity(client_id: str, settings: ProcessSettings, key_set: KeySet) -> Identity:
    """Read the service's keys and make sure that others will believe them.

    Raises:
        KeyFileError: a key file is missing, open to others or locked by another passphrase.
        StartError: the key set statement does not list this service with these keys.
    """
    sealer = RotatingSealer(client_id, settings.keys, settings.passphrase)
    sealer.follow(FixedTrust(key_set))
    decryption = DecryptionKey.load(settings.keys / ENCRYPTION_KEY, settings.passphrase)
    client = key_set.clients[client_id]
    if client.enc is None or client.enc.kid != decryption.kid:
        raise StartError(
            f"the key set statement does not list {settings.keys / ENCRYPTION_KEY} as the "
            f"encryption key of {client_id}"
        )
    return Identity(client_id, sealer, decryption)


def load_trust_root(settings: ProcessSettings) -> TrustRoot:
    """Read the trust root's public keys.

    Raises:
        StartError: the file cannot be read.
        KeySetError: it is no trust root.
    """
    try:
        return TrustRoot.from_json(settings.trust_root.read_bytes())
    except OSError as error:
        raise _unreadable(error) from error
    except KeySetError as error:
        raise KeySetError(f"{settings.trust_root}: {error.detail}") from error


def load_key_set(settings: ProcessSettings, *, now: float) -> KeySet:
    """Read the statement and believe it under the trust root.

    Raises:
        StartError: a file cannot be read.
        KeySetError: the statement is not the trust root's, expired or void.
    """
    root = load_trust_root(settings)
    try:
        return root.verify(settings.key_set.read_text(encoding="ascii"), now=now)
    except OSError as error:
        raise _unreadable(error) from error
    except UnicodeDecodeError as error:
        raise KeySetError(f"{settings.key_set}: is no statement") from error
    except KeySetError as error:
        raise KeySetError(f"{settings.key_set}: {error.detail}") from error


def _unreadable(error: OSError) -> StartError:
    return StartError(
        f"{error.filename}: cannot read: {error.strerror}; make one with: carnet trust init"
    )
