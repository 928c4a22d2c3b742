"""Passwords: Argon2id, and the same work for a name that nobody has (RFC 9106)."""

from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""19 MiB, two passes: the minimum that OWASP's password storage cheat sheet gives."""


def hash_password(password: str) -> str:
    """The encoded Argon2id hash. Takes tens of milliseconds: call it in a thread."""
    return _HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is right. For None (nobody has that name) it takes as long."""
    try:
        matches = _HASHER.verify(_nobody() if password_hash is None else password_hash, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False  # a lone surrogate has no UTF-8, so it is nobody's password
    return matches and password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


@cache
def _nobody() -> str:
    return _HASHER.hash("nobody has this password")
