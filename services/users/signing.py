"""The issuer's private keys, and the one that signs now."""

from pathlib import Path

from auth.keys import SigningKey
from auth.keyset import KeySet
from auth.tokens import Issuer
from services.errors import StartError


def load_issuer(folder: Path, key_set: KeySet, passphrase: bytes | None) -> Issuer:
    """The issuer, signing with that key in the folder which the statement lists as active.

    Raises:
        KeyFileError: a key file is open to others or locked by another passphrase.
        StartError: none of the keys is the active one.
    """
    for path in sorted(folder.glob("*.pem")):
        key = SigningKey.load(path, passphrase)
        listed = key_set.issuer_keys.get(key.kid)
        if listed is not None and listed.state == "active":
            return Issuer(key_set.issuer, key)
    raise StartError(
        f"{folder}: no key here is listed as the issuer's active key in version "
        f"{key_set.version} of the key set statement; see: carnet trust show"
    )
