"""The whole user service on a real broker, and the clients that ask it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, SecretStr

from auth.encryption import DecryptionKey
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.seal import Sealer
from auth.statement import KeySetDraft
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.contract import Request
from messaging.publisher import Publisher
from messaging.rpc import RpcClient
from messaging.topology import declare
from services.authority import Authority
from services.contracts.scopes import ORDERS_READ
from services.contracts.topology import GATEWAY, USER_SERVICE, USERS_TOPOLOGY
from services.keyring import Keyring
from services.local.ports import free_ports
from services.local.trust import make_local_trust
from services.users.__main__ import serve
from services.users.settings import UserSettings
from tests.services.users.realm import REPORTS

DEADLINE = 20.0

R = TypeVar("R", bound=BaseModel)


@dataclass
class Client:
    """A service that asks the user service."""

    rpc: RpcClient

    async def ask(self, request: Request[R], *, deadline: float = DEADLINE) -> R:
        return await self.rpc.call(request, responder=USER_SERVICE, deadline=deadline)


@dataclass
class Running:
    """A user service that is up, with its trust."""

    state: Path
    amqp_url: str
    trust: FixedTrust
    stack: AsyncExitStack

    @property
    def root(self) -> TrustRoot:
        return TrustRoot.from_json((self.state / "trust-root.json").read_bytes())

    def seal_key(self, client_id: str) -> SigningKey:
        return Keyring(self.state / "keys", None).seal(client_id)

    async def client(self, client_id: str = GATEWAY) -> Client:
        """A client with its own keys and connections."""
        broker = await Broker(self.amqp_url, name=client_id).start(DEADLINE)
        self.stack.push_async_callback(broker.close, DEADLINE)
        await declare(broker, USERS_TOPOLOGY, deadline=DEADLINE)
        decryption: DecryptionKey = Keyring(self.state / "keys", None).encryption(client_id)
        rpc = RpcClient(
            broker,
            Publisher(broker, client_id=client_id),
            Sealer(client_id, self.seal_key(client_id)),
            Verifier(self.trust, audience=client_id),
            trust=self.trust,
            decryption=decryption,
            clock=time.time,
        )
        await rpc.start(DEADLINE)
        self.stack.push_async_callback(rpc.close)
        return Client(rpc)


@asynccontextmanager
async def running(state: Path, amqp_url: str) -> AsyncIterator[Running]:
    """Run the user service as its own `__main__` wires it, until the end of the block."""
    prepare(state)
    async with serving(state, amqp_url), opened(state, amqp_url) as service:
        yield service


def prepare(state: Path) -> None:
    """Keys, a statement, and a folder for the database."""
    make_local_trust(state)
    register_reports(state)
    (state / "data").mkdir()


@asynccontextmanager
async def serving(
    state: Path, amqp_url: str, database_url: str | None = None
) -> AsyncIterator[asyncio.Event]:
    """One replica, which ends with the block, or when the event is set."""
    shutdown = asyncio.Event()
    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(settings(state, amqp_url, database_url), shutdown))
        try:
            yield shutdown
        finally:
            shutdown.set()


@asynccontextmanager
async def opened(state: Path, amqp_url: str) -> AsyncIterator[Running]:
    """A user service that runs already; what its clients open is closed after the block."""
    trust = FixedTrust(Authority(state).current(now=time.time()))
    async with AsyncExitStack() as stack:
        yield Running(state, amqp_url, trust, stack)


def settings(state: Path, amqp_url: str, database_url: str | None = None) -> UserSettings:
    return UserSettings(
        amqp_url=SecretStr(amqp_url),
        trust_root=state / "trust-root.json",
        key_set=state / "key-set.jwt",
        trust_state=state / "trust" / USER_SERVICE,
        keys=state / "keys" / USER_SERVICE,
        database_url=SecretStr(database_url or sqlite_url(state)),
        port=free_ports(1)[0],
    )


def sqlite_url(state: Path) -> str:
    """The database of the service in this folder, unless it has another."""
    return f"sqlite+aiosqlite:///{state / 'data' / 'users.db'}"


def register_reports(state: Path) -> None:
    """A client that works for itself, and may publish nothing."""
    authority = Authority(state)
    keyring = Keyring(authority.keys, None)
    draft = KeySetDraft.of(authority.latest())
    draft.add_client(
        REPORTS,
        key=keyring.seal(REPORTS).public,
        enc=keyring.encryption(REPORTS).public,
        publishes=frozenset(),
        exchanges=frozenset(),
        scopes=frozenset({ORDERS_READ}),
    )
    authority.publish(draft, now=time.time())
