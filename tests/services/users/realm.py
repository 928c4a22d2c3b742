"""A user service with real keys, a real database and a clock that a test can move."""

import time
from dataclasses import dataclass, field

import pytest

from auth.encryption import DecryptionKey
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.statement import KeySetDraft
from auth.tokens import Issuer
from auth.trust import FixedTrust
from messaging.database import Database
from messaging.rpc import Caller
from services.contracts.clients import CLIENTS, Grant
from services.contracts.scopes import ORDERS_READ
from services.contracts.topology import GATEWAY
from services.contracts.users import Register, SignIn, Tokens
from services.users.accounts import Accounts
from services.users.assertions import Assertions
from services.users.exchange import TokenExchange
from services.users.handlers import Handlers
from services.users.passwords import Passwords
from services.users.sessions import Sessions
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
    """A trust root, the issuer's key, and every client's two keys."""

    clock: Clock
    root: SigningKey = field(default_factory=SigningKey.generate)
    issuer_key: SigningKey = field(default_factory=SigningKey.generate)
    clients: dict[str, Grant] = field(
        default_factory=lambda: {**CLIENTS, REPORTS: Grant(scopes=frozenset({ORDERS_READ}))}
    )
    seals: dict[str, SigningKey] = field(default_factory=dict)
    encryption: dict[str, DecryptionKey] = field(default_factory=dict)

    def trust(self, **changed: Grant) -> FixedTrust:
        """The statement; `changed` grants replace the usual ones (`_` for `-` in names)."""
        grants = {**self.clients, **{n.replace("_", "-"): grant for n, grant in changed.items()}}
        draft = KeySetDraft.new("user-service")
        draft.add_issuer_key(self.issuer_key.public, "active")
        for client_id, grant in grants.items():
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
        statement = draft.sign(self.root, now=self.clock())
        return FixedTrust(TrustRoot([self.root.public]).verify(statement, now=self.clock()))


@dataclass
class Users:
    """The user service without its wire."""

    realm: Realm
    database: Database
    clock: Clock
    handlers: Handlers
    gateway: Caller

    async def sign_in(self, name: str = "ada", client: str = GATEWAY) -> Tokens:
        return await self.handlers.sign_in(SignIn(name=name, password=PASSWORD), as_client(client))

    async def register(self, name: str = "ada") -> str:
        registered = await self.handlers.register(
            Register(name=name, password=PASSWORD), self.gateway
        )
        return registered.sub


def as_client(client_id: str) -> Caller:
    """A request of this client's, as it comes to a handler: its seal is verified."""
    return Caller(client=client_id, principal=None, request_id="r" * 22)


def make_handlers(realm: Realm, database: Database, trust: FixedTrust) -> Handlers:
    issuer = Issuer("user-service", realm.issuer_key)
    sessions = Sessions(database, realm.clock)
    return Handlers(
        trust=trust,
        issuer=issuer,
        accounts=Accounts(database, Passwords(), realm.clock),
        sessions=sessions,
        exchange=TokenExchange(trust, issuer, sessions, realm.clock),
        assertions=Assertions(trust, database, realm.clock),
        clock=realm.clock,
    )
