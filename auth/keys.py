"""Signing keys and the public keys that verify: which are allowed, and how each is named."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import (
    generate_private_key as generate_rsa_key,
)
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import Algorithm as JwtAlgorithm
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from auth.errors import KeyFileError, KeySetError
from auth.keyfile import read_private_key, write_private_key
from auth.strict import decode_base64url, encode_base64url
from auth.weakness import RSA_EXPONENT, refuse_weak

Algorithm = Literal["ES256", "RS256", "EdDSA"]
"""RFC 7518 §3.1 and RFC 8037 §3.1. Never `none`, never a shared secret (RFC 8725 §3.1)."""

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
PublicKey = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey

_ES256: Final = ECDSA(SHA256())
_HALF: Final = 32
"""Bytes of each of the two numbers that an ES256 signature is (RFC 7518 §3.4)."""


class _Es256(ECAlgorithm):
    """PyJWT's, but that what says how to sign is made once, not for each of the signatures."""

    def __init__(self) -> None:
        super().__init__(ECAlgorithm.SHA256, SECP256R1)

    def sign(self, msg: bytes, key: EllipticCurvePrivateKey) -> bytes:
        r, s = decode_dss_signature(key.sign(msg, _ES256))
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    def verify(self, msg: bytes, key: EllipticCurvePublicKey, sig: bytes) -> bool:  # type: ignore[override]
        """Whether it is over `msg`; `sig` has its 64 bytes. Private keys are not asked here."""
        r, s = int.from_bytes(sig[:_HALF], "big"), int.from_bytes(sig[_HALF:], "big")
        try:
            key.verify(encode_dss_signature(r, s), msg, _ES256)
        except InvalidSignature:
            return False
        return True


_ALGORITHMS: Final[dict[str, JwtAlgorithm]] = {
    "ES256": _Es256(),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "EdDSA": OKPAlgorithm(),
}
ALLOWED_ALGORITHMS: Final = frozenset(_ALGORITHMS)

_GENERATORS: Final[dict[Algorithm, Callable[[], PrivateKey]]] = {
    "ES256": lambda: generate_private_key(SECP256R1()),
    "RS256": lambda: generate_rsa_key(RSA_EXPONENT, 3072),
    "EdDSA": Ed25519PrivateKey.generate,
}

_MEMBERS: Final[dict[tuple[str, str | None], tuple[Algorithm, tuple[str, ...]]]] = {
    ("EC", "P-256"): ("ES256", ("crv", "kty", "x", "y")),
    ("OKP", "Ed25519"): ("EdDSA", ("crv", "kty", "x")),
    ("RSA", None): ("RS256", ("e", "kty", "n")),
}
"""Key type and curve: the algorithm, and the members that RFC 7638 §3.2 hashes."""

_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_SIGNATURE_BYTES: Final = {"ES256": 64, "EdDSA": 64}


def thumbprint(members: Mapping[str, str]) -> str:
    """The key id: SHA-256 over the required members in order (RFC 7638 §3)."""
    canonical = json.dumps(dict(sorted(members.items())), separators=(",", ":"))
    return encode_base64url(hashlib.sha256(canonical.encode()).digest())


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key that verifies one algorithm's signatures."""

    kid: str
    algorithm: Algorithm
    jwk: Mapping[str, str]
    _key: PublicKey = field(repr=False, compare=False)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> Self:
        """Load a public JWK (RFC 7517 §4), refusing all that could be mistaken for one.

        Raises:
            KeySetError: private or symmetric, another curve or type, too weak, meant for
                something else (`use`, `key_ops`, `alg`), or named by another `kid`.
        """
        algorithm, members, key = load_public_key(jwk)
        _require(jwk.get("use", "sig") == "sig", "a key's use is not sig")
        _require(jwk.get("key_ops", ["verify"]) == ["verify"], "a key's key_ops is not verify")
        _require(jwk.get("alg", algorithm) == algorithm, "a key's alg does not fit its type")
        kid = thumbprint(members)
        _require(jwk.get("kid", kid) == kid, "a key's kid is not its RFC 7638 thumbprint")
        return cls(kid=kid, algorithm=algorithm, jwk=members, _key=key)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's over these bytes (RFC 7515 §5.2)."""
        if len(signature) != _SIGNATURE_BYTES.get(self.algorithm, len(signature)):
            return False
        return _ALGORITHMS[self.algorithm].verify(signing_input, self._key, signature)

    def to_jwk(self) -> dict[str, Any]:
        """The public JWK with `kid`, `alg` and `use`, ready for a key set."""
        return {**self.jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def to_pem(self) -> bytes:
        """The public key in PEM (RFC 7468 §13), for those who read no JWK."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Signature(NamedTuple):
    """A signature that is to be checked: over which bytes it is said to be `key`'s."""

    key: VerificationKey
    signing_input: bytes
    signature: bytes

    def holds(self) -> bool:
        """Whether it is (`VerificationKey.verify`)."""
        return self.key.verify(self.signing_input, self.signature)


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise KeySetError(otherwise)


def load_public_key(jwk: Mapping[str, Any]) -> tuple[Algorithm, dict[str, str], PublicKey]:
    """Load a public JWK of an allowed type: its algorithm, its required members, the key.

    Raises:
        KeySetError: private or symmetric, of another curve or type, weak, or not written in the
            one way that its thumbprint stands for.
    """
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise KeySetError("a key with private members stands among the public ones")
    crv = jwk.get("crv")
    shape = _MEMBERS.get((str(jwk.get("kty")), None if crv is None else str(crv)))
    if shape is None:
        raise KeySetError("key type or curve is not allowed: EC P-256, OKP Ed25519 or RSA")
    algorithm, required = shape
    if not all(isinstance(jwk.get(name), str) for name in required):
        raise KeySetError("a key lacks a required member")
    members = {name: str(jwk[name]) for name in required}
    try:
        for name in members.keys() - {"kty", "crv"}:
            decode_base64url(members[name])
        key: PublicKey = _ALGORITHMS[algorithm].from_jwk(members)
    except (ValueError, InvalidKeyError, UnsupportedAlgorithm) as error:
        raise KeySetError("a key's members do not make a key") from error
    refuse_weak(key)
    # A leading zero octet would give one key two thumbprints, and so two places in a key set.
    _require(public_jwk(key) == members, "a key is not in its shortest form (RFC 7518 §6)")
    return algorithm, members, key


def public_jwk(key: PublicKey) -> dict[str, str]:
    """The required members of a public key's JWK.

    Raises:
        KeySetError: of a curve that has no JWK.
    """
    try:
        members = _to_jwk(key)
    except InvalidKeyError as error:
        raise KeySetError("key type or curve is not allowed") from error
    names = ("crv", "kty", "x", "y", "e", "n")
    return {name: str(members[name]) for name in names if name in members}


def _to_jwk(key: PublicKey) -> dict[str, Any]:
    if isinstance(key, EllipticCurvePublicKey):
        return ECAlgorithm.to_jwk(key, as_dict=True)
    if isinstance(key, RSAPublicKey):
        return RSAAlgorithm.to_jwk(key, as_dict=True)
    return OKPAlgorithm.to_jwk(key, as_dict=True)


class SigningKey:
    """A private key; `kid` is its RFC 7638 thumbprint."""

    def __init__(self, key: PrivateKeyTypes) -> None:
        """Take a key of an allowed kind.

        Raises:
            KeySetError: of another kind, or too weak.
        """
        if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey):
            raise KeySetError("a signing key must be EC P-256, Ed25519 or RSA")
        self._key: PrivateKey = key
        self.public = VerificationKey.from_jwk(public_jwk(key.public_key()))

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, algorithm={self.algorithm!r})"

    @property
    def kid(self) -> str:
        return self.public.kid

    @property
    def algorithm(self) -> Algorithm:
        return self.public.algorithm

    @classmethod
    def generate(cls, algorithm: Algorithm = "ES256") -> Self:
        return cls(_GENERATORS[algorithm]())

    def save(self, path: Path, passphrase: bytes | None) -> None:
        """Write the key, encrypted where there is a passphrase, mode 0600 in any case.

        Raises:
            KeyFileError: the file exists already or cannot be written.
        """
        write_private_key(path, self._key, passphrase)

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> Self:
        """Read a key that `save` wrote.

        Raises:
            KeyFileError: missing, readable by others, wrong passphrase, no allowed key.
        """
        try:
            return cls(read_private_key(path, passphrase))
        except KeySetError as error:
            raise KeyFileError(f"{path}: {error.detail}") from error

    def sign(self, signing_input: bytes) -> bytes:
        """The JWS signature of these bytes."""
        return _ALGORITHMS[self.algorithm].sign(signing_input, self._key)
