"""Who a service is: its name and private keys; and whom it trusts."""

from dataclasses import dataclass
from typing import Final

from auth.encryption import DecryptionKey
from auth.errors import KeySetError
from auth.keys import SigningKey
from auth.keyset import KeySet, TrustRoot
from auth.seal import Sealer
from services.errors import StartError
from services.settings import ServiceSettings

SEAL_KEY: Final = "seal.pem"
ENCRYPTION_KEY: Final = "enc.pem"


@dataclass(frozen=True, slots=True)
class Identity:
    """A service's name, its seal and the key that opens what is written to it."""

    client_id: str
    sealer: Sealer
    decryption: DecryptionKey


def load_identity(client_id: str, settings: ServiceSettings, key_set: KeySet) -> Identity:
    """Read the service's keys and make sure that others will believe them.

    Raises:
        KeyFileError: a key file is missing, open to others or locked by another passphrase.
        StartError: the key set statement does not list this service with these keys.
    """
    seal = SigningKey.load(settings.keys / SEAL_KEY, settings.passphrase)
    decryption = DecryptionKey.load(settings.keys / ENCRYPTION_KEY, settings.passphrase)
    client = key_set.clients.get(client_id)
    if client is None or seal.kid not in client.keys:
        raise StartError(
            f"the key set statement does not list {settings.keys / SEAL_KEY} as a key of "
            f"{client_id}; register it with: carnet trust register {client_id}"
        )
    if client.enc is None or client.enc.kid != decryption.kid:
        raise StartError(
            f"the key set statement does not list {settings.keys / ENCRYPTION_KEY} as the "
            f"encryption key of {client_id}"
        )
    return Identity(client_id, Sealer(client_id, seal), decryption)


def load_key_set(settings: ServiceSettings, *, now: float) -> KeySet:
    """Read the trust root and the statement, and believe the one under the other.

    Raises:
        StartError: a file cannot be read.
        KeySetError: the statement is not the trust root's, expired or void.
    """
    try:
        root = TrustRoot.from_json(settings.trust_root.read_bytes())
        statement = settings.key_set.read_text(encoding="ascii")
    except OSError as error:
        raise StartError(
            f"{error.filename}: cannot read: {error.strerror}; make one with: carnet trust init"
        ) from error
    except UnicodeDecodeError as error:
        raise KeySetError(f"{settings.key_set}: is no statement") from error
    except KeySetError as error:
        raise KeySetError(f"{settings.trust_root}: {error.detail}") from error
    try:
        return root.verify(statement, now=now)
    except KeySetError as error:
        raise KeySetError(f"{settings.key_set}: {error.detail}") from error
