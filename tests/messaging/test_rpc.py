"""RPC with genuine parties: what is answered, what is dropped, and what a caller gets instead."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from auth.claims import LEEWAY
from auth.errors import Code, RefusalError
from auth.policy import public, requires
from messaging.broker import Broker
from messaging.envelope import JOSE, JSON, Envelope, sealed_headers
from messaging.errors import (
    BrokerUnavailableError,
    DatabaseUnavailableError,
    UnroutableError,
)
from messaging.publisher import Publisher
from messaging.rpc import (
    Caller,
    NoRecipientKeyError,
    Refused,
    RpcClient,
    RpcParts,
    RpcRefusedError,
    RpcServer,
    RpcTimeoutError,
    RpcUnavailableError,
)
from tests.messaging.market import (
    ALICE,
    GATEWAY,
    MARKET,
    QUESTIONS,
    STRANGER,
    AskPrice,
    AskSecretPrice,
    Price,
    Sell,
    SwitchableTrust,
    make_carnet,
    make_trust,
    party,
    verifier_of,
)
from tests.messaging.raw import WAIT, Raw, until
from tests.messaging.wire import Wire, wire_to

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

    async def ask(self, what: str = "tea", *, deadline: float = DEADLINE) -> Price:
        return await self.client.call(
            AskPrice(what=what),
            responder=MARKET,
            deadline=deadline,
            carnet=make_carnet(scope=READ_SCOPE),
        )


@asynccontextmanager
async def gateway_client(
    link: Broker, publisher: Publisher, trust: SwitchableTrust
) -> AsyncIterator[RpcClient]:
    """A client of the gateway's, with a reply queue of its own."""
    gateway = party(GATEWAY)
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
    async with gateway_client(link, publisher, trust) as client:
        counter = Counter(client, server, trust)
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
        shutdown = asyncio.Event()
        serving = asyncio.create_task(server.run(parts, shutdown))
        await until(lambda: server.ready)
        yield counter
        shutdown.set()
        await serving


@pytest_asyncio.fixture
async def counter(link: Broker, publisher: Publisher) -> AsyncIterator[Counter]:
    async with open_counter(link, publisher) as counter:
        yield counter


async def test_a_question_is_answered_on_behalf_of_its_user(counter: Counter) -> None:
    assert await counter.ask() == Price(price=Decimal("4.20"))

    caller = counter.callers[0]
    assert caller.client == GATEWAY
    assert caller.principal is not None
    assert caller.principal.subject == ALICE
    assert caller.principal_or_refuse() is caller.principal


async def test_many_questions_are_in_flight_at_once(counter: Counter) -> None:
    """All fifty wait for the last one: one at a time, none would be answered."""
    arrived = 0
    complete = asyncio.Event()

    async def together(request: AskPrice, _: Caller) -> Price:
        nonlocal arrived
        arrived += 1
        if arrived == 50:
            complete.set()
        await complete.wait()
        return Price(price=Decimal(request.what))

    counter.answer = together

    prices = await asyncio.gather(*(counter.ask(str(number)) for number in range(50)))

    assert [int(price.price) for price in prices] == list(range(50))


async def test_a_refusal_reaches_the_caller_with_its_code(counter: Counter) -> None:
    async def refuse(_: AskPrice, __: Caller) -> Price:
        raise Refused("not_found", "there is no such thing")

    counter.answer = refuse

    with pytest.raises(RpcRefusedError) as caught:
        await counter.ask()

    assert (caught.value.code, caught.value.detail) == ("not_found", "there is no such thing")


async def test_a_refusal_of_the_verifier_s_kind_reaches_the_caller_too(counter: Counter) -> None:
    async def refuse(_: AskPrice, __: Caller) -> Price:
        raise RefusalError("not_owner", "it is somebody else's")

    counter.answer = refuse

    with pytest.raises(RpcRefusedError) as caught:
        await counter.ask()

    assert caught.value.code == "not_owner"


async def test_the_caller_learns_nothing_of_a_bug(counter: Counter) -> None:
    async def fail(_: AskPrice, __: Caller) -> Price:
        raise RuntimeError("the password is secret")

    counter.answer = fail

    with pytest.raises(RpcRefusedError) as caught:
        await counter.ask()

    assert caught.value.code == "internal_error"
    assert "secret" not in caught.value.detail
    assert await counter.client.call(
        AskSecretPrice(what="tea"), responder=MARKET, deadline=DEADLINE
    ) == Price(price=Decimal(3))


async def test_an_answer_of_another_kind_is_a_bug(counter: Counter) -> None:
    async def confuse(_: AskPrice, __: Caller) -> Price:
        return Sell(what="tea")  # type: ignore[return-value]

    counter.answer = confuse

    with pytest.raises(RpcRefusedError) as caught:
        await counter.ask()

    assert caught.value.code == "internal_error"


async def test_a_service_without_its_database_says_so(counter: Counter) -> None:
    async def fail(_: AskPrice, __: Caller) -> Price:
        raise DatabaseUnavailableError("the database is locked")

    counter.answer = fail

    with pytest.raises(RpcUnavailableError) as caught:
        await counter.ask()

    assert isinstance(caught.value, RpcTimeoutError)
    assert "locked" not in caught.value.detail


async def test_a_question_that_is_not_answered_in_time_fails_in_time(counter: Counter) -> None:
    released = asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        await released.wait()
        return Price(price=Decimal(1))

    counter.answer = wait

    with pytest.raises(RpcTimeoutError, match="market-service did not answer"):
        await counter.ask(deadline=0.3)

    counter.answer = None
    released.set()
    assert await counter.ask() == Price(price=Decimal("4.20"))


async def test_a_late_reply_is_dropped(counter: Counter) -> None:
    async def wait(_: AskPrice, __: Caller) -> Price:
        await released.wait()
        return Price(price=Decimal(1))

    released = asyncio.Event()
    counter.answer = wait
    with pytest.raises(RpcTimeoutError):
        await counter.ask(deadline=0.3)

    released.set()

    await until(lambda: counter.client.counts["late"] == 1)


async def test_a_question_to_nobody_fails_at_once(counter: Counter) -> None:
    class AskNobody(AskPrice):
        """A question that no queue takes."""

        route = replace(AskPrice.route, routing_key="nobody.rpc")

    with pytest.raises(UnroutableError):
        await counter.client.call(AskNobody(what="tea"), responder=MARKET, deadline=DEADLINE)


async def test_the_scope_is_demanded(counter: Counter) -> None:
    with pytest.raises(RpcRefusedError) as caught:
        await counter.client.call(
            AskPrice(what="tea"),
            responder=MARKET,
            deadline=DEADLINE,
            carnet=make_carnet(scope="market:sell"),
        )

    assert caught.value.code == Code.INSUFFICIENT_SCOPE
    assert counter.callers == []


async def test_a_question_without_the_carnet_that_it_needs_is_dropped(counter: Counter) -> None:
    with pytest.raises(RpcTimeoutError):
        await counter.client.call(AskPrice(what="tea"), responder=MARKET, deadline=0.3)

    assert counter.server.counts == {"dropped:missing_token": 1}


async def test_a_deadline_is_more_than_nothing_and_at_most_a_minute(counter: Counter) -> None:
    for deadline in (0, -1, 61):
        with pytest.raises(ValueError, match="deadline"):
            await counter.ask(deadline=deadline)


# Encrypted bodies


async def test_what_is_secret_is_unreadable_on_the_broker(
    counter: Counter, raw: Raw, link: Broker
) -> None:
    del link
    spied_requests = await raw.listen("carnet.rpc", QUESTIONS)
    spied_replies = await raw.listen("carnet.reply", "#")

    price = await counter.client.call(
        AskSecretPrice(what="the-password"), responder=MARKET, deadline=DEADLINE
    )

    assert price == Price(price=Decimal(12))
    request, reply = await raw.next(spied_requests), await raw.next(spied_replies)
    for message in (request, reply):
        assert message.content_type == JOSE
        assert message.body.count(b".") == 4
        assert b"the-password" not in message.body
    with pytest.raises(RefusalError):
        party(STRANGER).decryption.decrypt(request.body)


async def test_nothing_secret_is_sent_to_a_service_without_a_key(counter: Counter) -> None:
    with pytest.raises(NoRecipientKeyError):
        await counter.client.call(
            AskSecretPrice(what="tea"), responder="unknown-service", deadline=DEADLINE
        )


async def test_a_server_without_a_key_does_not_serve_secret_questions(
    link: Broker, publisher: Publisher
) -> None:
    trust = make_trust()
    server = RpcServer(QUESTIONS)

    async def handler(_: AskSecretPrice, __: Caller) -> Price:
        return Price(price=Decimal(1))

    server.answers(AskSecretPrice, public())(handler)
    parts = RpcParts(
        broker=link,
        publisher=publisher,
        sealer=party(MARKET).sealer,
        verifier=verifier_of(MARKET, trust),
        trust=trust,
        decryption=None,
        clock=time.time,
    )

    with pytest.raises(ValueError, match="no key"):
        await server.run(parts, asyncio.Event())


# Requests and replies of others


@dataclass
class _Request:
    """A genuine request of the gateway's, made by hand."""

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


async def test_a_genuine_request_made_by_hand_is_answered(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    """The good case, from which the next tests differ."""
    queue = await raw.listen("carnet.reply", "carnet.api-gateway.by-hand")

    await publisher.publish(_Request("carnet.api-gateway.by-hand").envelope, deadline=WAIT)

    reply = await raw.next(queue)
    assert reply.body == b'{"ok":{"price":"4.20"}}'
    assert reply.type == "market.price.v1.reply"
    assert reply.correlation_id == "c"
    assert len(counter.callers) == 1


async def test_a_request_that_is_played_again_is_not_answered_again(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    queue = await raw.listen("carnet.reply", "carnet.api-gateway.by-hand")
    request = _Request("carnet.api-gateway.by-hand").envelope

    await publisher.publish(request, deadline=WAIT)
    await publisher.publish(request, deadline=WAIT)

    await until(lambda: counter.server.counts["dropped:replayed"] == 1)
    await raw.next(queue)
    assert len(counter.callers) == 1


async def test_a_request_whose_time_has_passed_is_not_started_on(
    counter: Counter, publisher: Publisher
) -> None:
    late = _Request("carnet.api-gateway.by-hand", age=10 + LEEWAY + 2).envelope

    await publisher.publish(late, deadline=WAIT)

    await until(lambda: counter.server.counts["dropped:late"] == 1)
    assert counter.callers == []


async def test_clocks_may_differ_by_the_leeway(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    queue = await raw.listen("carnet.reply", "carnet.api-gateway.by-hand")
    request = _Request("carnet.api-gateway.by-hand", age=10 + LEEWAY / 2).envelope

    await publisher.publish(request, deadline=WAIT)

    assert (await raw.next(queue)).body == b'{"ok":{"price":"4.20"}}'
    assert len(counter.callers) == 1


async def test_no_reply_is_aimed_at_another_client(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    queue = await raw.listen("carnet.reply", "carnet.other-service.victim")

    await publisher.publish(_Request("carnet.other-service.victim").envelope, deadline=WAIT)

    await until(lambda: counter.server.counts["dropped:foreign_reply_to"] == 1)
    assert counter.callers == []
    assert await raw.count(queue) == 0


async def test_a_request_with_another_reply_to_than_the_sealed_one_is_dropped(
    counter: Counter, publisher: Publisher
) -> None:
    moved = _Request(
        "carnet.api-gateway.thief", sealed_reply_to="carnet.api-gateway.by-hand"
    ).envelope

    await publisher.publish(moved, deadline=WAIT)

    await until(lambda: counter.server.counts["dropped:seal_mismatch"] == 1)
    assert counter.callers == []


async def test_junk_is_dropped_and_the_next_question_answered(counter: Counter, raw: Raw) -> None:
    await raw.publish("carnet.rpc", QUESTIONS, b"\x00\xff", headers={"carnet-seal": 1})
    await raw.publish("carnet.rpc", QUESTIONS, b"{}", type="market.price.v1")

    await until(lambda: counter.server.counts.total() == 2)
    assert await counter.ask() == Price(price=Decimal("4.20"))


async def test_a_forged_reply_is_dropped_and_the_genuine_one_awaited(
    counter: Counter, raw: Raw
) -> None:
    """The forger even knows the correlation id, and seals with a listed client's key."""
    spied = await raw.listen("carnet.rpc", QUESTIONS)
    released = asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        await released.wait()
        return Price(price=Decimal(1))

    counter.answer = wait
    asked = asyncio.create_task(counter.ask())
    request = await raw.next(spied)
    await until(lambda: bool(counter.callers))
    body, reply_to = b'{"ok":{"price":"0.01"}}', request.reply_to or ""
    route = replace(
        AskPrice.route,
        exchange="carnet.reply",
        routing_key=reply_to,
        type=f"{AskPrice.route.type}.reply",
    )
    seal = party(STRANGER).sealer.reply(
        route=route,
        audience=GATEWAY,
        message_id=str(uuid.uuid4()),
        body=body,
        request_id=counter.callers[0].request_id,
        now=time.time(),
        expires_at=time.time() + 60,
    )

    await raw.publish(
        "carnet.reply",
        reply_to,
        body,
        headers={"carnet-seal": seal},
        type=route.type,
        correlation_id=request.correlation_id,
    )
    await until(lambda: counter.client.counts.total() == 1)
    released.set()

    assert await asked == Price(price=Decimal(1))
    assert "late" not in counter.client.counts


# Losses


async def test_a_caller_is_told_at_once_when_its_reply_can_no_longer_come(
    counter: Counter, wire: Wire
) -> None:
    entered = asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    counter.answer = wait
    asked = asyncio.create_task(counter.ask(deadline=60))
    await entered.wait()

    wire.cut()

    with pytest.raises(BrokerUnavailableError):
        await asked


async def test_questions_are_answered_again_after_the_connection_broke(
    counter: Counter, wire: Wire
) -> None:
    wire.cut()
    await until(lambda: not counter.client.ready and not counter.server.ready)
    await until(lambda: counter.client.ready and counter.server.ready)

    assert await counter.ask() == Price(price=Decimal("4.20"))


async def test_a_question_while_the_broker_is_away_fails_in_time(
    counter: Counter, wire: Wire
) -> None:
    wire.dead = True
    wire.cut()
    await until(lambda: not counter.client.ready)

    with pytest.raises(BrokerUnavailableError):
        await counter.ask(deadline=0.3)

    wire.dead = False


async def test_a_question_while_trust_is_away_is_not_answered(counter: Counter) -> None:
    counter.trust.silent = True

    with pytest.raises(RpcTimeoutError):
        await counter.ask(deadline=0.5)

    assert counter.callers == []


# Callers and servers that are gone


async def test_a_request_that_waited_here_for_its_whole_time_is_not_started_on(
    link: Broker, publisher: Publisher
) -> None:
    """The server has one hand; while that is busy, four more requests wait beside it."""
    busy, released = asyncio.Event(), asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        busy.set()
        await released.wait()
        return Price(price=Decimal(1))

    async with open_counter(link, publisher, concurrency=1) as counter:
        counter.answer = wait
        first = asyncio.create_task(counter.ask())
        await busy.wait()
        waiting = await asyncio.gather(
            *(counter.ask(deadline=0.5) for _ in range(4)), return_exceptions=True
        )
        assert [type(result) for result in waiting] == [RpcTimeoutError] * 4

        released.set()

        assert await first == Price(price=Decimal(1))
        assert await counter.ask() == Price(price=Decimal(1))
        assert len(counter.callers) == 2
        assert set(counter.server.counts) <= {"answered", "dropped:late"}


async def test_no_more_requests_of_a_caller_that_is_gone_are_started_on(
    link: Broker, publisher: Publisher, amqp_url: str
) -> None:
    """Its process has ended, and its reply queue with it: the first reply shows that."""
    busy, released = asyncio.Event(), asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        busy.set()
        await released.wait()
        return Price(price=Decimal(1))

    async with open_counter(link, publisher, concurrency=1) as counter:
        counter.answer = wait
        other = await Broker(amqp_url, name="soon gone").start(WAIT)
        asking = Publisher(other, client_id=GATEWAY)
        async with gateway_client(other, asking, counter.trust) as client:
            calls = [
                asyncio.create_task(
                    client.call(
                        AskPrice(what="tea"),
                        responder=MARKET,
                        deadline=60,
                        carnet=make_carnet(scope=READ_SCOPE),
                    )
                )
                for _ in range(6)
            ]
            await busy.wait()
            await until(lambda: _waiting(counter) == 5)
            await other.close(WAIT)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [BrokerUnavailableError] * 6

        released.set()

        await until(lambda: counter.server.counts["dropped:caller_gone"] == 6)
        assert len(counter.callers) == 1
        assert await counter.ask() == Price(price=Decimal(1))


def _waiting(counter: Counter) -> int:
    """Requests that were handed over and are not begun."""
    subscription = counter.server._subscription
    registration = subscription.registration if subscription else None
    return len(registration.unsettled) if registration else 0


async def test_calls_whose_server_dies_end_at_their_deadline(
    link: Broker, publisher: Publisher, amqp_url: str
) -> None:
    """Not before it, since a reply might come; and soon after. `benchmarks.rpc` has the figure."""
    begun = 0
    all_begun = asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        nonlocal begun
        begun += 1
        if begun == 30:
            all_begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def ask(counter: Counter) -> float:
        end = asyncio.get_running_loop().time() + SHORT
        with pytest.raises(RpcTimeoutError):
            await counter.ask(deadline=SHORT)
        return asyncio.get_running_loop().time() - end

    async with wire_to(amqp_url) as wire:
        server_link = await Broker(wire.url, name="server").start(WAIT)
        async with open_counter(link, publisher, server_link=server_link) as counter:
            counter.answer = wait
            calls = [asyncio.create_task(ask(counter)) for _ in range(30)]
            await asyncio.wait_for(all_begun.wait(), WAIT)
            wire.dead = True
            wire.cut()

            late = await asyncio.gather(*calls)

        assert all(-0.01 < each < 5 for each in late)
        await server_link.close(WAIT)


# Registration


async def _unused(request: Any, caller: Caller) -> Price:
    del request, caller
    return Price(price=Decimal(0))


def test_a_handler_without_a_policy_is_not_registered() -> None:
    server = RpcServer(QUESTIONS)

    with pytest.raises(TypeError):
        server.answers(AskPrice)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Policy"):
        server.answers(AskPrice, None)  # type: ignore[arg-type]


def test_a_request_has_one_handler() -> None:
    server = RpcServer(QUESTIONS)
    server.answers(AskPrice, public())(_unused)

    with pytest.raises(ValueError, match="has a handler already"):
        server.answers(AskPrice, public())(_unused)


def test_only_a_request_is_answered() -> None:
    with pytest.raises(TypeError, match="kind of Request"):
        RpcServer(QUESTIONS).answers(Sell, public())(_unused)  # type: ignore[type-var]


def test_on_nobody_s_behalf_there_is_no_principal() -> None:
    with pytest.raises(Refused) as caught:
        Caller(GATEWAY, None, "id").principal_or_refuse()

    assert caught.value.code == Code.MISSING_TOKEN
