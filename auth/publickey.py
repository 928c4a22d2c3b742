"""Public keys at rest: a JWK in JSON, or PEM."""

from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from auth.encryption import RecipientKey
from auth.errors import KeyFileError, KeySetError
from auth.keys import VerificationKey, public_jwk
from auth.strict import parse_json_object

_PEM: Final = b"-----BEGIN "
_PRIVATE: Final = b"PRIVATE KEY-----"


def read_verification_key(path: Path) -> VerificationKey:
    """Read the public half of a signing key.

    Raises:
        KeyFileError: unreadable, private, or no key that we allow.
    """
    try:
        return VerificationKey.from_jwk(_read_jwk(path))
    except KeySetError as error:
        raise KeyFileError(f"{path}: {error.detail}") from error


def read_recipient_key(path: Path) -> RecipientKey:
    """Read the public half of a decryption key.

    Raises:
        KeyFileError: unreadable, private, or no P-256 key.
    """
    try:
        return RecipientKey.from_jwk(_read_jwk(path))
    except KeySetError as error:
        raise KeyFileError(f"{path}: {error.detail}") from error


def _read_jwk(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot read the key: {error.strerror}") from error
    if _PRIVATE in data:
        raise KeyFileError(f"{path}: is a private key; give its public half")
    try:
        return _jwk_of_pem(data) if _PEM in data else parse_json_object(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: no public key, as JWK or PEM") from error


def _jwk_of_pem(data: bytes) -> dict[str, Any]:
    key = load_pem_public_key(data)
    if not isinstance(key, EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey):
        raise ValueError("a key of a kind that is not allowed")  # noqa: TRY004 - one verdict
    return dict(public_jwk(key))
