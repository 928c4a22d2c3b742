"""Encrypted RPC bodies: compact JWE, ECDH-ES on P-256 with A256GCM (RFC 7516, RFC 7518 §4.6).

Passwords and tokens that pass through the broker can be read by their receiver alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from auth.errors import Code, KeyFileError, KeySetError, MalformedTokenError
from auth.keyfile import read_private_key, write_private_key
from auth.keys import load_public_key, public_jwk, thumbprint
from auth.strict import decode_base64url, parse_json_object

ALGORITHM: Final = "ECDH-ES"
CONTENT: Final = "A256GCM"
MAX_CIPHERTEXT: Final = 512 * 1024
"""Largest ciphertext that is opened, in characters: a body of 256 KiB, or a key set statement."""

_HEADER: Final = frozenset({"alg", "enc", "kid", "epk"})
_EPK: Final = frozenset({"crv", "kty", "x", "y"})
_PARTS: Final = 5


class _Registry(jwe.JWERegistry):
    max_ciphertext_length = MAX_CIPHERTEXT  # the library's own is 64 KiB


_REGISTRY: Final = _Registry(algorithms=[ALGORITHM, CONTENT])


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """The public key that a service lists as `enc`: anyone may write to it."""

    kid: str
    jwk: Mapping[str, str]
    _key: ECKey = field(repr=False, compare=False)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> Self:
        """Load a public P-256 JWK with `use: enc`.

        Raises:
            KeySetError: private, of another curve, for another use, or no key at all.
        """
        _, members, key = load_public_key(jwk)
        if not isinstance(key, EllipticCurvePublicKey):
            raise KeySetError("an encryption key must be a public EC P-256 key")
        if jwk.get("use", "enc") != "enc" or jwk.get("alg", ALGORITHM) != ALGORITHM:
            raise KeySetError("an encryption key is meant for something else")
        if jwk.get("key_ops", []) != []:  # what it is for, its private half does (RFC 7517 §4.3)
            raise KeySetError("an encryption key's key_ops is not empty")
        kid = thumbprint(members)
        if jwk.get("kid", kid) != kid:
            raise KeySetError("an encryption key's kid is not its RFC 7638 thumbprint")
        return cls(kid=kid, jwk=members, _key=ECKey.import_key(key))

    def encrypt(self, plaintext: bytes) -> bytes:
        """A compact JWE that only this key's owner can open."""
        header = {"alg": ALGORITHM, "enc": CONTENT, "kid": self.kid}
        text = jwe.encrypt_compact(header, plaintext, self._key, algorithms=[ALGORITHM, CONTENT])
        return text.encode("ascii")

    def to_jwk(self) -> dict[str, Any]:
        """The public JWK with `kid`, `alg` and `use`."""
        return {**self.jwk, "kid": self.kid, "alg": ALGORITHM, "use": "enc"}


class DecryptionKey:
    """The private half of a `RecipientKey`."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key
        self._jwe_key = ECKey.import_key(key)
        self.public = RecipientKey.from_jwk(public_jwk(key.public_key()))

    def __repr__(self) -> str:
        return f"DecryptionKey(kid={self.kid!r})"

    @property
    def kid(self) -> str:
        return self.public.kid

    @classmethod
    def generate(cls) -> Self:
        return cls(generate_private_key(SECP256R1()))

    def save(self, path: Path, passphrase: bytes | None) -> None:
        """Write the key as `SigningKey.save` does.

        Raises:
            KeyFileError: the file exists already or cannot be written.
        """
        write_private_key(path, self._key, passphrase)

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> Self:
        """Read a key that `save` wrote.

        Raises:
            KeyFileError: missing, readable by others, wrong passphrase, no P-256 key.
        """
        key = read_private_key(path, passphrase)
        if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
            raise KeyFileError(f"{path}: an encryption key must be EC P-256")
        return cls(key)

    def decrypt(self, unverified_jwe: bytes) -> bytes:
        """Open a compact JWE that was written to this key.

        Raises:
            MalformedTokenError: `malformed_token`: another form, header, key or content.
        """
        try:
            text = unverified_jwe.decode("ascii")
            header, encrypted_key, *_ = parts = [decode_base64url(p) for p in text.split(".")]
            self._check_form(parse_json_object(header), encrypted_key, len(parts))
            opened = jwe.decrypt_compact(text, self._jwe_key, registry=_REGISTRY)
        except (ValueError, JoseError, KeySetError) as error:
            raise MalformedTokenError(
                Code.MALFORMED_TOKEN, "the body cannot be opened with our key"
            ) from error
        return opened.plaintext or b""

    def _check_form(self, header: dict[str, Any], encrypted_key: bytes, parts: int) -> None:
        if parts != _PARTS or encrypted_key:  # ECDH-ES agrees on the key itself: none is sent
            raise ValueError("not a compact JWE")
        expected = {"alg": ALGORITHM, "enc": CONTENT, "kid": self.kid}
        if header.keys() != _HEADER or any(header[k] != v for k, v in expected.items()):
            raise ValueError("not the header that we accept")
        epk = header["epk"]
        if not isinstance(epk, dict) or epk.keys() != _EPK or epk["crv"] != "P-256":
            raise ValueError("not a P-256 ephemeral key")
        load_public_key(epk)
