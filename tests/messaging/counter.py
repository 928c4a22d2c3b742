"""The market's counter: a server and a client of RPC with genuine parties, and requests by hand."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from auth.policy import public, requires
from messaging.broker import Broker
from messaging.envelope import JSON, Envelope, sealed_headers
from messaging.publisher import Publisher
from messaging.rpc import (
    Caller,
    RpcClient,
    RpcParts,
    RpcServer,
)
from tests.messaging.market import (
    GATEWAY,
    MARKET,
    QUESTIONS,
    AskPrice,
    AskSecretPrice,
    Price,
    SwitchableTrust,
    make_carnet,
    make_trust,
    party,
    verifier_of,
)
from tests.messaging.raw import WAIT, until

DEADLINE = 20.0
SHORT = 8.0
READ_SCOPE = "market:read"
Handler = Callable[[AskPrice, Caller], Awaitable[Price]]


@dataclass
class Counter:
    """The market's counter, where questions are answered."""

    client: RpcClient
    server: RpcServer
    trust: SwitchableTrust
    """The server's; the client has its own."""
    shutdown: asyncio.Event
    callers: list[Caller] = field(default_factory=list)
    answer: Handler | None = None

    async def price(self, request: AskPrice, caller: Caller) -> Price:
        self.callers.append(caller)
        if self.answer is not None:
            return await self.answer(request, caller)
        return Price(price=Decimal("4.20"))

    async def secret_price(self, request: AskSecretPrice, caller: Caller) -> Price:
        self.callers.append(caller)
        return Price(price=Decimal(len(request.what)))

    @property
    def waiting(self) -> int:
        """Requests that were handed over and are not begun."""
        subscription = self.server._subscription
        registration = subscription.registration if subscription else None
        return len(registration.unsettled) if registration else 0

    async def ask(self, what: str = "tea", *, deadline: float = DEADLINE) -> Price:
        return await self.client.call(
            AskPrice(what=what),
            responder=MARKET,
            deadline=deadline,
            carnet=make_carnet(scope=READ_SCOPE),
        )


@asynccontextmanager
async def gateway_client(link: Broker, publisher: Publisher) -> AsyncIterator[RpcClient]:
    """A client of the gateway's, with a reply queue of its own."""
    gateway, trust = party(GATEWAY), make_trust()
    client = RpcClient(
        link,
        publisher,
        gateway.sealer,
        verifier_of(GATEWAY, trust),
        trust=trust,
        decryption=gateway.decryption,
        clock=time.time,
    )
    await client.start(WAIT)
    yield client
    await client.close()


@asynccontextmanager
async def open_counter(
    link: Broker, publisher: Publisher, *, concurrency: int = 50, server_link: Broker | None = None
) -> AsyncIterator[Counter]:
    """`server_link`: of the market, where it has another connection than the gateway."""
    trust = make_trust()
    market = party(MARKET)
    server = RpcServer(QUESTIONS)
    serving_link = server_link or link
    shutdown = asyncio.Event()
    async with gateway_client(link, publisher) as client:
        counter = Counter(client, server, trust, shutdown)
        server.answers(AskPrice, requires(READ_SCOPE))(counter.price)
        server.answers(AskSecretPrice, public())(counter.secret_price)
        parts = RpcParts(
            broker=serving_link,
            publisher=Publisher(serving_link, client_id=MARKET),
            sealer=market.sealer,
            verifier=verifier_of(MARKET, trust),
            trust=trust,
            decryption=market.decryption,
            clock=time.time,
            concurrency=concurrency,
            drain=0.5,
        )
        serving = asyncio.create_task(server.run(parts, shutdown))
        await until(lambda: server.ready)
        yield counter
        shutdown.set()
        await serving


@dataclass
class HandMade:
    """A genuine request of the gateway's."""

    reply_to: str
    age: float = 0
    sealed_reply_to: str | None = None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def envelope(self) -> Envelope:
        now = time.time() - self.age
        carnet = make_carnet(scope=READ_SCOPE, now=now)
        body = AskPrice(what="tea").to_body()
        seal = party(GATEWAY).sealer.request(
            route=AskPrice.route,
            audience=MARKET,
            message_id=self.request_id,
            body=body,
            reply_to=self.sealed_reply_to or self.reply_to,
            carnet=carnet,
            now=now,
            expires_at=now + 10,
        )
        return Envelope(
            route=AskPrice.route,
            body=body,
            headers=sealed_headers(seal, carnet),
            content_type=JSON,
            correlation_id="c",
            reply_to=self.reply_to,
            persistent=False,
        )
