"""RPC with genuine parties: what is answered, and what a caller gets instead."""

import asyncio
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from auth.errors import Code, RefusalError
from auth.policy import public
from messaging.broker import Broker
from messaging.envelope import JOSE
from messaging.errors import (
    DatabaseUnavailableError,
    UnroutableError,
)
from messaging.publisher import Publisher
from messaging.rpc import (
    Caller,
    NoRecipientKeyError,
    Refused,
    RpcParts,
    RpcRefusedError,
    RpcServer,
    RpcTimeoutError,
    RpcUnavailableError,
)
from tests.messaging.counter import (
    DEADLINE,
    Counter,
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
    make_carnet,
    make_trust,
    party,
    verifier_of,
)
from tests.messaging.raw import WAIT, Raw, until


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


async def test_a_reply_that_nobody_waits_for_any_more_is_dropped(counter: Counter) -> None:
    async def wait(_: AskPrice, __: Caller) -> Price:
        entered.set()
        await released.wait()
        return Price(price=Decimal(1))

    entered, released = asyncio.Event(), asyncio.Event()
    counter.answer = wait
    asked = asyncio.create_task(counter.ask())
    await asyncio.wait_for(entered.wait(), WAIT)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked

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
