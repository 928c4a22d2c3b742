"""A user service with real keys, a real database and a clock that a test can move."""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auth.encryption import DecryptionKey
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.statement import KeySetDraft
from auth.trust import FixedTrust
from messaging.database import Database
from messaging.rpc import Caller
from services.contracts.clients import CLIENTS, Grant
from services.contracts.scopes import ORDERS_READ
from services.contracts.topology import GATEWAY
from services.contracts.users import Register, SignIn, Tokens
from services.users.acts import Act, Acts, Asker
from services.users.administration import Administration
from services.users.assembly import Register as Parts
from services.users.assembly import make_administration, make_handlers, open_register
from services.users.attempts import Limits
from services.users.audit import What, export
from services.users.handlers import Handlers
from services.users.keyfolder import KeyFolder
from services.users.passwords import Passwords
from services.users.rotation import Rotation
from services.users.session_life import SessionLife
from services.users.signing import IssuerKeys
from tests.databases import KINDS

PASSWORD = "correct horse battery staple"

everywhere = pytest.mark.parametrize("users", KINDS, indirect=True)
"""For a test of what may differ from one kind of database to the other."""

REPORTS = "reports"
"""A client that works for itself and may ask for nothing else."""


class Clock:
    """The time, which a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@dataclass
class Realm:
    """A trust root, the issuer's key in its folder, and every client's two keys."""

    clock: Clock
    folder: Path
    root: SigningKey = field(default_factory=SigningKey.generate)
    issuer_key: SigningKey = field(default_factory=SigningKey.generate)
    clients: dict[str, Grant] = field(
        default_factory=lambda: {**CLIENTS, REPORTS: Grant(scopes=frozenset({ORDERS_READ}))}
    )
    seals: dict[str, SigningKey] = field(default_factory=dict)
    encryption: dict[str, DecryptionKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.put(self.issuer_key)

    def put(self, key: SigningKey) -> SigningKey:
        """Put a key into the issuer's folder."""
        key.save(self.folder / f"{key.kid}.pem", None)
        return key

    def trust(self, **changed: Grant) -> FixedTrust:
        """The statement; `changed` grants replace the usual ones (`_` for `-` in names)."""
        grants = {**self.clients, **{n.replace("_", "-"): grant for n, grant in changed.items()}}
        statement = self.draft(grants).sign(self.root, now=self.clock())
        return FixedTrust(self.trust_root.verify(statement, now=self.clock()))

    @property
    def trust_root(self) -> TrustRoot:
        return TrustRoot([self.root.public])

    def draft(self, grants: dict[str, Grant] | None = None, *, version: int = 1) -> KeySetDraft:
        """A statement that nobody has signed yet, with the issuer's key as the active one."""
        draft = KeySetDraft.new("user-service")
        draft.version = version
        draft.add_issuer_key(self.issuer_key.public, "active")
        for client_id, grant in (grants or self.clients).items():
            seal = self.seals.setdefault(client_id, SigningKey.generate())
            decryption = self.encryption.setdefault(client_id, DecryptionKey.generate())
            draft.add_client(
                client_id,
                key=seal.public,
                enc=decryption.public,
                publishes=grant.publishes,
                exchanges=grant.exchanges,
                scopes=grant.scopes,
            )
        return draft


@dataclass
class Users:
    """The user service without its wire."""

    realm: Realm
    database: Database
    clock: Clock
    parts: Parts
    handlers: Handlers
    administration: Administration

    @property
    def gateway(self) -> Caller:
        return as_client(GATEWAY)

    @property
    def operator(self) -> Asker:
        return Asker("operator:grace")

    async def sign_in(self, name: str = "ada", client: str = GATEWAY) -> Tokens:
        return await self.handlers.sign_in(SignIn(name=name, password=PASSWORD), as_client(client))

    async def register(self, name: str = "ada") -> str:
        registered = await self.handlers.register(
            Register(name=name, password=PASSWORD), self.gateway
        )
        return registered.sub

    @asynccontextmanager
    async def act(self) -> AsyncIterator[Act]:
        """A transaction of our own."""
        async with Acts(self.database, self.clock).of(self.operator, What.ENABLE) as act:
            yield act

    async def log(self) -> list[dict[str, Any]]:
        """The audit log."""
        async with self.database.session() as work:
            return [entry async for entry in export(work)]

    def with_trust(self, trust: FixedTrust) -> None:
        """Go on under another statement."""
        keys = IssuerKeys(
            self.handlers.keys.folder, trust, self.database, clock=self.clock, ticks=self.clock
        )
        self.handlers = make_handlers(self.parts, trust, keys, self.realm.trust_root)
        self.administration = _administration(self.handlers, self.parts)


_ids = itertools.count(1)


def as_client(client_id: str, request_id: str | None = None) -> Caller:
    """A request of this client's, as it comes to a handler: its seal is verified."""
    return Caller(client_id, None, request_id or f"request-{next(_ids):016}")


async def open_users(
    realm: Realm,
    database: Database,
    *,
    life: SessionLife | None = None,
    limits: Limits | None = None,
    passwords: Passwords | None = None,
) -> Users:
    """The user service on a database with tables."""
    trust = realm.trust()
    parts = open_register(
        database, passwords or Passwords(), clock=realm.clock, life=life, limits=limits
    )
    folder = KeyFolder(realm.folder, None, ticks=realm.clock)
    keys = IssuerKeys(folder, trust, database, clock=realm.clock, ticks=realm.clock)
    await keys.begin()
    handlers = make_handlers(parts, trust, keys, realm.trust_root)
    administration = _administration(handlers, parts)
    return Users(realm, database, realm.clock, parts, handlers, administration)


def _administration(handlers: Handlers, parts: Parts) -> Administration:
    rotation = Rotation(
        handlers.keys,
        handlers.trust,
        parts.acts,
        parts.database,
        life=timedelta(0),
        clock=parts.clock,
    )
    return make_administration(parts, handlers.presented, rotation)
