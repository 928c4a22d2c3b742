"""Weak public keys: well formed, and no proof of who signed."""

import math
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from auth.errors import KeySetError

_MIN_RSA_BITS: Final = 2048
RSA_EXPONENT: Final = 65537

_ROCA_PRIMES: Final = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
"""Primes modulo which few residues are powers of 65537."""
_SMALL_FACTORS: Final = math.prod((2, 3, 5, 7, *_ROCA_PRIMES))

_ED25519_P: Final = 2**255 - 19
_ORDER_8: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER: Final = frozenset({0, 1, _ED25519_P - 1, _ORDER_8, _ED25519_P - _ORDER_8})
"""The y coordinates of all points whose order divides 8."""


def refuse_weak(key: EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey) -> None:
    """Refuse a key under which somebody else than its owner could sign.

    Raises:
        KeySetError: RSA under 2048 bits, of another exponent than 65537, with a small factor or
            of the generator of CVE-2017-15361; Ed25519 of small order, or not in its one
            encoding.
    """
    if isinstance(key, RSAPublicKey):
        _refuse_weak_rsa(key)
    elif isinstance(key, Ed25519PublicKey):
        _refuse_weak_ed25519(key)


def _refuse_weak_rsa(key: RSAPublicKey) -> None:
    numbers = key.public_numbers()
    if key.key_size < _MIN_RSA_BITS:
        raise KeySetError(f"an RSA key is under {_MIN_RSA_BITS} bits")
    if numbers.e != RSA_EXPONENT:
        raise KeySetError(f"an RSA exponent is not {RSA_EXPONENT}")
    if math.gcd(numbers.n, _SMALL_FACTORS) != 1:
        raise KeySetError("an RSA modulus has a small factor")
    if _is_roca(numbers.n):
        raise KeySetError("an RSA key was made by a generator that is broken (CVE-2017-15361)")


def _is_roca(modulus: int) -> bool:
    """Whether the modulus is a power of 65537 modulo every one of these primes.

    So is every key of that generator; of others, one in 10^8 (Nemec and others, CCS 2017).
    """
    return all(
        any(pow(RSA_EXPONENT, power, prime) == modulus % prime for power in range(prime - 1))
        for prime in _ROCA_PRIMES
    )


def _refuse_weak_ed25519(key: Ed25519PublicKey) -> None:
    """Under a key of small order one signature holds for many messages."""
    y = int.from_bytes(key.public_bytes_raw(), "little") & (2**255 - 1)
    if y >= _ED25519_P:
        raise KeySetError("an Ed25519 key is not canonical (RFC 8032 §5.1.3)")
    if y in _SMALL_ORDER:
        raise KeySetError("an Ed25519 key is of small order")
