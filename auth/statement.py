"""How the operator makes the next key set statement: edit a draft, sign it with the root."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Final, Self

from auth.encryption import RecipientKey
from auth.errors import KeySetError
from auth.jws import KEY_SET, sign_token
from auth.keys import SigningKey, VerificationKey
from auth.keyset import KeySet, KeyState
from auth.strict import parse_json_object, parse_token

STATEMENT_LIFE: Final = 90 * 24 * 3600
"""Seconds for which a statement is believed."""

ISSUER: Final = "issuer"
"""The name that stands for the issuer where keys are added, promoted and withdrawn."""


@dataclass(slots=True)
class KeySetDraft:
    """A statement that nobody has signed yet."""

    version: int
    issuer: str
    issuer_keys: list[dict[str, Any]] = field(default_factory=list)
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def new(cls, issuer: str) -> Self:
        return cls(version=1, issuer=issuer)

    @classmethod
    def of(cls, key_set: KeySet) -> Self:
        """The successor of a verified statement: the same content, the next version."""
        unsigned = parse_json_object(
            parse_token(key_set.statement, limit=len(key_set.statement)).unverified_payload
        )
        return cls(
            version=key_set.version + 1,
            issuer=key_set.issuer,
            issuer_keys=copy.deepcopy(unsigned["issuer"]["keys"]),
            clients=copy.deepcopy(unsigned["clients"]),
        )

    def add_issuer_key(self, key: VerificationKey, state: KeyState) -> None:
        self.issuer_keys.append({**key.to_jwk(), "state": state})

    def add_client(
        self,
        client_id: str,
        *,
        key: VerificationKey,
        enc: RecipientKey | None,
        publishes: frozenset[str],
        exchanges: frozenset[str],
        scopes: frozenset[str],
    ) -> None:
        """List a client that was not listed before, with one active key.

        Raises:
            KeySetError: it is listed already, or its name is the one that means the issuer.
        """
        if client_id in self.clients:
            raise KeySetError(f"client {client_id} is registered already")
        if client_id == ISSUER:
            raise KeySetError(f"no client can be named {ISSUER}: that means the issuer itself")
        self.clients[client_id] = {
            "keys": [{**key.to_jwk(), "state": "active"}],
            "publishes": sorted(publishes),
            "exchanges": sorted(exchanges),
            "scopes": sorted(scopes),
        }
        if enc is not None:
            self.clients[client_id]["enc"] = enc.to_jwk()

    def grant(
        self,
        client_id: str,
        *,
        publishes: frozenset[str],
        exchanges: frozenset[str],
        scopes: frozenset[str],
    ) -> None:
        """Change what a client may do, and nothing of its keys.

        Raises:
            KeySetError: it is not registered.
        """
        self._client(client_id).update(
            publishes=sorted(publishes), exchanges=sorted(exchanges), scopes=sorted(scopes)
        )

    def encrypt_to(self, client_id: str, enc: RecipientKey) -> None:
        """Change the key that a client is written to with.

        Raises:
            KeySetError: it is not registered.
        """
        self._client(client_id)["enc"] = enc.to_jwk()

    def keys_of(self, owner: str) -> list[dict[str, Any]]:
        """The listed keys of a client, or of the issuer where `owner` is `ISSUER`.

        Raises:
            KeySetError: there is no such party.
        """
        if owner == ISSUER:
            return self.issuer_keys
        keys: list[dict[str, Any]] = self._client(owner)["keys"]
        return keys

    def _client(self, client_id: str) -> dict[str, Any]:
        if client_id not in self.clients:
            raise KeySetError(f"no client {client_id} is registered")
        return self.clients[client_id]

    def add_next_key(self, owner: str, key: VerificationKey) -> None:
        """List a key that is to sign later. It is published at least 30 s before it signs."""
        self.keys_of(owner).append({**key.to_jwk(), "state": "next"})

    def promote(self, owner: str, kid: str, *, now: float, grace: float = 0) -> None:
        """Make a `next` key the active one; what was active is retired.

        grace: seconds for which what was active may go on to sign, until its owner has changed
            to the new key.

        Raises:
            KeySetError: the party has no such key in state `next`.
        """
        keys = self.keys_of(owner)
        chosen = next((k for k in keys if k["kid"] == kid and k["state"] == "next"), None)
        if chosen is None:
            raise KeySetError(f"{owner} has no key {kid} in state next")
        for key in keys:
            if key["state"] == "active":
                key.update(state="retired", retired_at=int(now + grace))
        chosen["state"] = "active"

    def withdraw_key(self, owner: str, kid: str) -> None:
        """Stop believing a key at once, whatever it signed and whenever.

        Raises:
            KeySetError: the party has no such key.
        """
        keys = self.keys_of(owner)
        kept = [key for key in keys if key["kid"] != kid]
        if len(kept) == len(keys):
            raise KeySetError(f"{owner} has no key {kid}")
        keys[:] = kept

    def withdraw_client(self, client_id: str) -> None:
        """Stop believing a client at all.

        Raises:
            KeySetError: it is not registered.
        """
        self._client(client_id)
        del self.clients[client_id]

    def sign(self, root: SigningKey, *, now: float, life: int = STATEMENT_LIFE) -> str:
        """The statement, believed from now on for `life` seconds."""
        return sign_token(
            {
                "version": self.version,
                "iat": int(now),
                "exp": int(now) + life,
                "issuer": {"iss": self.issuer, "keys": self.issuer_keys},
                "clients": self.clients,
            },
            typ=KEY_SET,
            key=root,
        )
