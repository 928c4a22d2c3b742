"""Logins at the broker, and their form in a definitions file."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import quote

OPERATOR: Final = "operator"
"""The login that may do anything: for the stack itself and for whoever inspects it."""

SALT_BYTES: Final = 4
HASHING: Final = "rabbit_password_hashing_sha256"


@dataclass(frozen=True, slots=True)
class Login:
    """A name and its password at one broker."""

    name: str
    password: str = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Self:
        return cls(name, secrets.token_urlsafe(24))

    def url(self, host: str, port: int, vhost: str = "/") -> str:
        """The AMQP URL that logs in with it."""
        return f"amqp://{quote(self.name)}:{quote(self.password)}@{host}:{port}/{quote(vhost, '')}"

    def definition(self, *tags: str) -> dict[str, Any]:
        """Its entry under `users` of a definitions file."""
        return {
            "name": self.name,
            "password_hash": password_hash(self.password),
            "hashing_algorithm": HASHING,
            "tags": list(tags),
        }


def password_hash(password: str) -> str:
    """RabbitMQ's salted hash: base64(salt, SHA-256(salt, password)), with a salt of 32 bits.

    Short as that salt is, it is what the broker's own hashing writes. What protects these
    passwords is that they are random, 192 bits each.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
