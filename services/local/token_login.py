"""The broker's side of logins by token: RabbitMQ's OAuth 2 plugin, and whose keys it believes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from auth.keys import VerificationKey
from auth.keyset import KeySet

PLUGIN: Final = "rabbitmq_auth_backend_oauth2"
BACKEND: Final = "rabbit_auth_backend_oauth2"


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """How a broker is to be configured so that the issuer's tokens log in.

    resource: the broker's name in the tokens.   keys: the issuer's, by `kid`.
    """

    resource: str
    keys: Mapping[str, VerificationKey]

    @classmethod
    def of(cls, key_set: KeySet, resource: str, *, now: float) -> Self:
        """Believe the keys that may sign, and those that will."""
        listed = key_set.issuer_keys.items()
        may_sign = {kid: each.key for kid, each in listed if each.signed_in_time(int(now))}
        return cls(resource, may_sign)

    def files(self) -> dict[str, bytes]:
        """The keys as files, by name. They are public."""
        return {f"{kid}.pem": key.to_pem() for kid, key in self.keys.items()}

    def configuration(self, folder: str) -> str:
        """Lines of `rabbitmq.conf`. `folder`: where the broker finds the key files."""
        # Without a list of its own the plugin would let each token say how it is to be verified.
        algorithms = sorted({key.algorithm for key in self.keys.values()})
        lines = [
            "# Passwords first: the operator has one. A service's name is known to nobody there.",
            "auth_backends.1 = internal",
            f"auth_backends.2 = {BACKEND}",
            f"auth_oauth2.resource_server_id = {self.resource}",
            *(f"auth_oauth2.signing_keys.{kid} = {folder}/{kid}.pem" for kid in sorted(self.keys)),
            *(f"auth_oauth2.algorithms.{n} = {name}" for n, name in enumerate(algorithms, 1)),
        ]
        return "\n".join([*lines, ""])
