"""Who may do what: the key set statement, believed only under the trust root's signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field

from auth.claims import LEEWAY, ClientId, Name, NumericDate
from auth.encryption import RecipientKey
from auth.errors import AuthError, KeySetError, TrustUnavailableError
from auth.jws import (
    KEY_SET,
    Claims,
    check_algorithm,
    check_key,
    check_signature,
    parse_claims,
)
from auth.keys import VerificationKey
from auth.strict import parse_json_object, parse_token

MAX_STATEMENT: Final = 256 * 1024
"""Longest statement that is read, in characters."""

KeyState = Literal["next", "active", "retired"]


class KeyClaims(Claims):
    """One listed key: a public JWK with its state."""

    model_config = ConfigDict(extra="allow")

    state: KeyState
    retired_at: NumericDate | None = None


class IssuerClaims(Claims):
    """The one party whose tokens speak for users."""

    iss: Name
    keys: list[KeyClaims]


class ClientClaims(Claims):
    """A service: the keys that it seals with, and what it may do.

    publishes: message types it may seal.   exchanges: audiences it may ask carnets for.
    scopes: what it may ask for itself by client credentials.
    """

    keys: list[KeyClaims]
    enc: dict[str, Any] | None = None
    publishes: list[Name] = Field(default_factory=list)
    exchanges: list[ClientId] = Field(default_factory=list)
    scopes: list[Name] = Field(default_factory=list)


class StatementClaims(Claims):
    """The whole statement; a higher version replaces a lower one."""

    version: int = Field(ge=1, le=2**53)
    iat: NumericDate
    exp: NumericDate
    issuer: IssuerClaims
    clients: dict[ClientId, ClientClaims]


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key with its state. `retired_at`: last second at which it may have signed."""

    key: VerificationKey
    state: KeyState
    retired_at: int | None = None

    def signed_in_time(self, iat: int) -> bool:
        """Whether the key was not yet retired when it signed something issued at `iat`."""
        return self.retired_at is None or iat <= self.retired_at


@dataclass(frozen=True, slots=True)
class Client:
    """A service as the statement lists it."""

    keys: Mapping[str, ListedKey]
    enc: RecipientKey | None
    publishes: frozenset[str]
    exchanges: frozenset[str]
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class KeySet:
    """A statement that the trust root signed.

    owners: the client of each key that seals, by `kid`.
    shared_types: those that several clients publish: commands and requests may be such, but an
        event has one source.
    statement: its text, to be handed on.
    """

    version: int
    issued_at: int
    expires_at: int
    issuer: str
    issuer_keys: Mapping[str, ListedKey]
    clients: Mapping[str, Client]
    owners: Mapping[str, str]
    shared_types: frozenset[str]
    statement: str

    def sealing_key(self, kid: str) -> tuple[str, ListedKey] | None:
        """The one client that has this key, and the key; None where no client has it.

        Since no key is listed twice, the key says who signed; the token need not be believed.
        """
        client_id = self.owners.get(kid)
        return None if client_id is None else (client_id, self.clients[client_id].keys[kid])

    def require_current(self, now: float) -> None:
        """Raise unless the statement is still believed.

        Raises:
            TrustUnavailableError: it is expired, which is our fault and not a message's.
        """
        if now > self.expires_at:
            raise TrustUnavailableError("the key set statement is expired; run: carnet trust sign")

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The issuer's public keys as a JWK set (RFC 7517 §5)."""
        return {"keys": [listed.key.to_jwk() for listed in self.issuer_keys.values()]}

    def supersedes(self, held: KeySet | None) -> bool:
        """Whether this one is to be kept in the place of `held`.

        Raises:
            KeySetError: its version is lower, or the same with other bytes.
        """
        if held is None or self.version > held.version:
            return True
        if self.version < held.version:
            raise KeySetError(f"version {self.version} is older than {held.version}, which we hold")
        # What was signed, without the signature: of that, anyone can make another that holds
        # as well, (r, n - s) for (r, s).
        if self.statement.rpartition(".")[0] != held.statement.rpartition(".")[0]:
            raise KeySetError(f"two statements claim to be version {self.version}")
        return False


class TrustRoot:
    """The public half of the key, or two keys, that every statement must be signed with."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = {key.kid: key for key in keys}
        if not 1 <= len(self._keys) <= 2:  # noqa: PLR2004 - current and next
            raise KeySetError("a trust root has one key or two: the current and the next")

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read `{"keys": [JWK]}` with one public key or two.

        Raises:
            KeySetError: anything else.
        """
        try:
            keys = parse_json_object(data)["keys"]
            return cls([VerificationKey.from_jwk(jwk) for jwk in keys])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeySetError('the trust root is not {"keys": [one or two public JWKs]}') from error

    def to_jwks(self) -> dict[str, list[dict[str, Any]]]:
        return {"keys": [key.to_jwk() for key in self._keys.values()]}

    def verify(self, unverified_statement: str, *, now: float) -> KeySet:
        """Believe a statement, whoever handed it over.

        Raises:
            KeySetError: not signed by the root, expired, from the future, empty, or it lists a
                key twice.
        """
        try:
            token = parse_token(unverified_statement.strip(), limit=MAX_STATEMENT)
            check_algorithm(token, typ=KEY_SET)
            key = self._keys.get(token.unverified_header["kid"])
            if key is None:
                raise KeySetError("signed by a key that is not the trust root's")
            check_key(token, key)
            check_signature(token, key)
            claims = parse_claims(token, StatementClaims)
        except AuthError as error:
            raise KeySetError(f"the statement is refused: {error.detail}") from error
        if claims.iat > now + LEEWAY:
            raise KeySetError("the statement is from the future; is this machine's clock right?")
        if claims.exp < now - LEEWAY:
            raise KeySetError("the statement is expired; run: carnet trust sign")
        return _read(claims, unverified_statement.strip(), seen=set(self._keys))


def _read(claims: StatementClaims, statement: str, *, seen: set[str]) -> KeySet:
    """Read what the root has signed. `seen`: keys that have their place already, the root's."""
    issuer_keys = _list_keys(claims.issuer.keys, seen)
    if not issuer_keys:
        raise KeySetError("the statement lists no key of the issuer")
    clients = {name: _read_client(client, seen) for name, client in claims.clients.items()}
    publishers = Counter(ty for client in clients.values() for ty in client.publishes)
    return KeySet(
        version=claims.version,
        issued_at=claims.iat,
        expires_at=claims.exp,
        issuer=claims.issuer.iss,
        issuer_keys=issuer_keys,
        clients=MappingProxyType(clients),
        owners=MappingProxyType(
            {kid: name for name, client in clients.items() for kid in client.keys}
        ),
        shared_types=frozenset(ty for ty, count in publishers.items() if count > 1),
        statement=statement,
    )


def _read_client(client: ClientClaims, seen: set[str]) -> Client:
    enc = None if client.enc is None else RecipientKey.from_jwk(client.enc)
    if enc is not None:
        _see(enc.kid, seen)
    return Client(
        keys=_list_keys(client.keys, seen),
        enc=enc,
        publishes=frozenset(client.publishes),
        exchanges=frozenset(client.exchanges),
        scopes=frozenset(client.scopes),
    )


def _list_keys(keys: list[KeyClaims], seen: set[str]) -> Mapping[str, ListedKey]:
    listed = {}
    for claims in keys:
        key = VerificationKey.from_jwk(claims.model_extra or {})
        if (claims.state == "retired") != (claims.retired_at is not None):
            raise KeySetError("a key is retired if, and only if, it has retired_at")
        _see(key.kid, seen)
        listed[key.kid] = ListedKey(key, claims.state, claims.retired_at)
    return MappingProxyType(listed)


def _see(kid: str, seen: set[str]) -> None:
    """A key in two places would let one party speak as another."""
    if kid in seen:
        raise KeySetError("a key is listed twice, which voids the statement")
    seen.add(kid)
