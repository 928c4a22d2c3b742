"""The three services in this process, on a real broker: what a client of the gateway meets."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from auth.jws import parse_claims
from auth.keys import SigningKey
from auth.keyset import KeySet
from auth.statement import KeySetDraft
from auth.strict import parse_token
from auth.tokens import AccessClaims, Issuer
from messaging.database import open_database
from services.authority import Authority
from services.contracts.scopes import ORDERS_READ
from services.contracts.topology import GATEWAY, ORDER_SERVICE, USER_SERVICE
from services.declared import Declared, read_all_declared
from services.gateway.service import serve as serve_gateway
from services.gateway.settings import GatewaySettings
from services.identity import load_key_set
from services.keyring import Keyring
from services.local.ports import LOOPBACK, free_ports
from services.local.trust import make_local_trust
from services.orders.__main__ import serve as serve_orders
from services.orders.settings import OrderSettings
from services.orders.tables import ORDERS
from services.settings import ServiceSettings
from services.users.__main__ import serve as serve_users
from services.users.acts import Asker
from services.users.assembly import Register, open_register
from services.users.passwords import Passwords
from services.users.settings import UserSettings

PATIENCE = 30.0
PASSWORD = "correct horse battery staple"
REPORTS = "reports"
PARTNER = "partner"
TEA = {
    "lines": [{"sku": "tea-earl-grey", "quantity": 2, "unit_price": "4.20"}],
    "currency": "EUR",
}

Serve = Callable[[Any, asyncio.Event], Coroutine[None, None, None]]

SERVICES: dict[str, tuple[type[ServiceSettings], Serve]] = {
    USER_SERVICE: (UserSettings, serve_users),
    ORDER_SERVICE: (OrderSettings, serve_orders),
    GATEWAY: (GatewaySettings, serve_gateway),
}


@dataclass
class Process:
    """A service that runs, and how it is told to stop."""

    url: str
    shutdown: asyncio.Event
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.shutdown.set()
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def ready(self) -> None:
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(base_url=self.url) as client:
            while not self.task.done():
                try:
                    if (await client.get("/health/ready")).is_success:
                        return
                except httpx.TransportError:
                    continue
        await self.task
        raise AssertionError("the service has ended")


@dataclass(frozen=True)
class User:
    """Somebody who has signed in, with a client that carries the access token."""

    claims: AccessClaims
    name: str
    tokens: dict[str, Any]
    http: httpx.AsyncClient

    @property
    def sub(self) -> str:
        return self.claims.sub

    async def place(self, order: dict[str, Any] = TEA, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.http.post("/v1/orders", json=order, headers=headers)

    async def order(self, order_id: str) -> dict[str, Any]:
        """The order once it is there."""
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.http.get(f"/v1/orders/{order_id}")).status_code == 404:
                pass
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@dataclass
class Stack:
    """The services of one virtual host, each started and stopped by its client id."""

    folder: Path
    amqp_url: Callable[[str], str]
    more_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By client id: what the test wants to be otherwise."""
    processes: dict[str, Process] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports[GATEWAY]}"

    async def start(self, *client_ids: str) -> None:
        for client_id in client_ids:
            kind, serve = SERVICES[client_id]
            settings = self.settings(kind, client_id)
            shutdown = asyncio.Event()
            task = asyncio.create_task(serve(settings, shutdown), name=client_id)
            url = f"http://{LOOPBACK}:{settings.port}"
            self.processes[client_id] = Process(url, shutdown, task)
            # One after the other: Alembic knows one migration at a time in a process.
            await self.processes[client_id].ready()

    async def stop(self, *client_ids: str) -> None:
        for client_id in client_ids:
            await self.processes.pop(client_id).stop()

    @asynccontextmanager
    async def another_gateway(self, amqp_url: str, **changed: Any) -> AsyncIterator[Process]:
        """A second gateway, which reaches the same broker by `amqp_url`."""
        usual = self.settings(GatewaySettings, GATEWAY).model_dump()
        settings = GatewaySettings.model_validate(
            {
                **usual,
                "amqp_url": amqp_url,
                "port": free_ports(1)[0],
                "trust_state": self.folder / "trust" / "another-gateway",
                **changed,
            }
        )
        shutdown = asyncio.Event()
        process = Process(
            f"http://{LOOPBACK}:{settings.port}",
            shutdown,
            asyncio.create_task(serve_gateway(settings, shutdown)),
        )
        try:
            await process.ready()
            yield process
        finally:
            await process.stop()

    def settings(self, kind: type[ServiceSettings], client_id: str) -> ServiceSettings:
        port = self.ports.setdefault(client_id, free_ports(1)[0])
        return kind.model_validate(
            {
                "amqp_url": self.amqp_url(client_id),
                "trust_root": self.folder / "trust-root.json",
                "key_set": self.folder / "key-set.jwt",
                "keys": self.folder / "keys" / client_id,
                "trust_state": self.folder / "trust" / client_id,
                "database_url": f"sqlite+aiosqlite:///{self.folder / client_id}.db",
                "port": port,
                "shutdown_deadline": 5,
                **self.more_settings.get(client_id, {}),
            }
        )

    @property
    def key_set(self) -> KeySet:
        return load_key_set(self.settings(ServiceSettings, GATEWAY), now=time.time())

    @property
    def issuer(self) -> Issuer:
        """The issuer itself, for tokens that it would never give."""
        key_set = self.key_set
        active = next(k for k, key in key_set.issuer_keys.items() if key.state == "active")
        folder = self.folder / "keys" / USER_SERVICE / "issuer"
        return Issuer(key_set.issuer, SigningKey.load(folder / f"{active}.pem"))

    def seal_key(self, client_id: str) -> SigningKey:
        return SigningKey.load(self.folder / "keys" / client_id / "seal.pem")

    async def stored_orders(self, subject: str) -> int:
        """How many orders of a subject the order service keeps."""
        database = open_database(f"sqlite+aiosqlite:///{self.folder / ORDER_SERVICE}.db")
        try:
            async with database.session() as session:
                count = select(func.count()).select_from(ORDERS).where(ORDERS.c.subject == subject)
                return await session.scalar(count) or 0
        finally:
            await database.close()

    @asynccontextmanager
    async def register(self) -> AsyncIterator[Register]:
        """The user service's accounts and sessions, as its operator's commands see them."""
        database = open_database(f"sqlite+aiosqlite:///{self.folder / USER_SERVICE}.db")
        try:
            yield open_register(database, Passwords(), clock=time.time)
        finally:
            await database.close()

    async def make_operator(self, name: str) -> None:
        """An account with the role `operator`."""
        async with self.register() as register:
            await register.accounts.add(Asker.operator(), name, PASSWORD, ["operator"])

    @asynccontextmanager
    async def user(self) -> AsyncIterator[User]:
        """A new user who has registered and signed in."""
        name = f"user-{uuid.uuid4().hex[:12]}"
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE) as http:
            credentials = {"name": name, "password": PASSWORD}
            (await http.post("/v1/users", json=credentials)).raise_for_status()
            yield await sign_in(http, name)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[User]:
        """A new operator who has signed in."""
        name = f"operator-{uuid.uuid4().hex[:12]}"
        await self.make_operator(name)
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE) as http:
            yield await sign_in(http, name)


async def sign_in(http: httpx.AsyncClient, name: str) -> User:
    credentials = {"name": name, "password": PASSWORD}
    tokens = (await http.post("/v1/sessions", json=credentials)).raise_for_status().json()
    http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    claims = parse_claims(parse_token(tokens["access_token"]), AccessClaims)
    return User(claims, name, tokens, http)


def make_trust(folder: Path, declared: Declared = ()) -> None:
    """The local stack's trust, with two clients besides that work for themselves."""
    make_local_trust(folder, declared=declared)
    authority = Authority(folder)
    keyring = Keyring(authority.keys, None)
    draft = KeySetDraft.of(authority.latest())
    for client_id, exchanges in ((REPORTS, ()), (PARTNER, (ORDER_SERVICE,))):
        draft.add_client(
            client_id,
            key=keyring.seal(client_id).public,
            enc=None,
            publishes=frozenset(),
            exchanges=frozenset(exchanges),
            scopes=frozenset({ORDERS_READ}),
        )
    authority.publish(draft, now=time.time())


@asynccontextmanager
async def open_stack(
    folder: Path,
    amqp_url: Callable[[str], str],
    *client_ids: str,
    user_settings: dict[str, Any] | None = None,
    order_settings: dict[str, Any] | None = None,
    **gateway_settings: Any,
) -> AsyncIterator[Stack]:
    """The named services, all three where none is named; stopped in the reverse order."""
    make_trust(folder, read_all_declared(gateway_settings.get("services")))
    more = {
        GATEWAY: gateway_settings,
        USER_SERVICE: user_settings or {},
        ORDER_SERVICE: order_settings or {},
    }
    stack = Stack(folder, amqp_url, more)
    try:
        await stack.start(*(client_ids or SERVICES))
        yield stack
    finally:
        await stack.stop(*reversed(list(stack.processes)))
