"""Requests and replies of others: who is not genuine, in time or addressed gets no answer."""

import asyncio
import time
import uuid
from dataclasses import replace
from decimal import Decimal

from auth.claims import LEEWAY
from messaging.publisher import Publisher
from messaging.rpc import (
    Caller,
)
from tests.messaging.counter import (
    Counter,
    HandMade,
)
from tests.messaging.market import (
    GATEWAY,
    QUESTIONS,
    STRANGER,
    AskPrice,
    Price,
    party,
)
from tests.messaging.raw import WAIT, Raw, until


async def test_a_genuine_request_made_by_hand_is_answered(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    """The good case, from which the next tests differ."""
    queue = await raw.listen("carnet.reply", "carnet.api-gateway.by-hand")

    await publisher.publish(HandMade("carnet.api-gateway.by-hand").envelope, deadline=WAIT)

    reply = await raw.next(queue)
    assert reply.body == b'{"ok":{"price":"4.20"}}'
    assert reply.type == "market.price.v1.reply"
    assert reply.correlation_id == "c"
    assert len(counter.callers) == 1


async def test_a_request_that_is_played_again_is_not_answered_again(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    queue = await raw.listen("carnet.reply", "carnet.api-gateway.by-hand")
    request = HandMade("carnet.api-gateway.by-hand").envelope

    await publisher.publish(request, deadline=WAIT)
    await publisher.publish(request, deadline=WAIT)

    await until(lambda: counter.server.counts["dropped:replayed"] == 1)
    await raw.next(queue)
    assert len(counter.callers) == 1


async def test_a_request_whose_time_has_passed_is_not_started_on(
    counter: Counter, publisher: Publisher
) -> None:
    late = HandMade("carnet.api-gateway.by-hand", age=10 + LEEWAY + 2).envelope

    await publisher.publish(late, deadline=WAIT)

    await until(lambda: counter.server.counts["dropped:late"] == 1)
    assert counter.callers == []


async def test_clocks_may_differ_by_the_leeway(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    queue = await raw.listen("carnet.reply", "carnet.api-gateway.by-hand")
    request = HandMade("carnet.api-gateway.by-hand", age=10 + LEEWAY / 2).envelope

    await publisher.publish(request, deadline=WAIT)

    assert (await raw.next(queue)).body == b'{"ok":{"price":"4.20"}}'
    assert len(counter.callers) == 1


async def test_no_reply_is_aimed_at_another_client(
    counter: Counter, publisher: Publisher, raw: Raw
) -> None:
    queue = await raw.listen("carnet.reply", "carnet.other-service.victim")

    await publisher.publish(HandMade("carnet.other-service.victim").envelope, deadline=WAIT)

    await until(lambda: counter.server.counts["dropped:foreign_reply_to"] == 1)
    assert counter.callers == []
    assert await raw.count(queue) == 0


async def test_a_request_with_another_reply_to_than_the_sealed_one_is_dropped(
    counter: Counter, publisher: Publisher
) -> None:
    moved = HandMade(
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
