"""The consumer of commands, with genuine messages: what happens once, again, and when it fails."""

import asyncio
import time
from datetime import timedelta

import pytest
from sqlalchemy import insert, text

from auth.errors import Code, RefusalError
from auth.message import UnverifiedMessage
from auth.policy import at_acceptance, public, requires
from auth.principal import Principal
from messaging.consumer import CommandConsumer
from messaging.contract import Command
from messaging.envelope import Envelope
from messaging.errors import NotYetError
from messaging.unit_of_work import UnitOfWork
from tests.messaging.market import (
    ALICE,
    GATEWAY,
    MARKET,
    SELL_SCOPE,
    WORK,
    AskPrice,
    Sell,
    Sold,
    Unsold,
    party,
    sell,
    verifier_of,
)
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import SALES, TABLES, Stall

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_command_has_its_effect_and_its_event(any_stall: Stall) -> None:
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")
    await stall.open()
    message = sell("tea").but(extra=(("traceparent", TRACE),))

    await stall.send(message)

    event = await stall.raw.next(heard)
    assert await stall.sales() == ["tea"]
    assert event.type == Sold.route.type
    assert Sold.from_body(event.body) == Sold(what="tea")
    assert event.headers["traceparent"] == TRACE
    verified = verifier_of("api-gateway", stall.trust).event(
        UnverifiedMessage(event.body, event.headers, event.type),
        Sold.route,
        now=event.timestamp.timestamp() if event.timestamp else 0,
    )
    assert verified.seal.iss == MARKET
    assert verified.seal.sub == ALICE
    assert verified.seal.cause == message.message_id


@pytest.mark.parametrize(
    "trace",
    [(("traceparent", TRACE), ("tracestate", "x" * 16_500)), (("traceparent", "y" * 16_500),)],
    ids=["tracestate", "traceparent"],
)
async def test_a_trace_of_no_form_keeps_no_event_back(
    any_stall: Stall, trace: tuple[tuple[str, str], ...]
) -> None:
    """No seal covers it, and an event with all of it could never be published."""
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")
    await stall.open()

    message = sell("tea").but(extra=trace).envelope
    await stall.raw.publish(
        message.route.exchange,
        message.route.routing_key,
        message.body,
        headers=dict(message.headers),
        type=message.route.type,
    )
    await stall.send(sell("salt"))

    events = [await stall.raw.next(heard) for _ in range(2)]
    assert {Sold.from_body(event.body).what for event in events} == {"tea", "salt"}


async def test_a_message_that_comes_twice_has_one_effect(any_stall: Stall) -> None:
    await any_stall.open()
    message = sell("tea")

    await any_stall.send(message, message, message)

    await any_stall.settled(3)
    assert any_stall.starts == ["tea"]
    assert any_stall.consumer.counts == {"done": 3}


async def test_many_commands_at_once_are_each_done_once(any_stall: Stall) -> None:
    await any_stall.open()
    messages = [sell() for _ in range(60)]

    async with asyncio.TaskGroup() as group:
        for message in messages * 2:
            group.create_task(any_stall.send(message))

    await any_stall.settled(120)
    sold = [m.command.what for m in messages if isinstance(m.command, Sell)]
    assert await any_stall.sales() == sorted(sold)
    assert any_stall.consumer.counts == {"done": 120}


async def test_an_id_that_was_given_to_another_message_before_is_refused(stall: Stall) -> None:
    await stall.open()
    first = sell("tea")
    await stall.send(first)
    await stall.settled(1)

    await stall.send(first.but(command=Sell(what="gold")))

    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.ID_REUSED
    assert await stall.sales() == ["tea"]
    assert stall.refusals == []


async def test_a_refused_message_that_comes_again_is_told_once_and_kept_each_time(
    stall: Stall,
) -> None:
    """That its first dead letter was stored is not known: it may come again because it was not."""
    await stall.open()
    message = sell().but(body=b"no json")

    await stall.send(message, message)

    for _ in range(2):
        assert (await stall.dead_letter()).headers["carnet-reason"] == Code.INVALID_BODY
    assert len(stall.refusals) == 1


async def test_a_refusal_of_the_handler_undoes_its_work_and_is_told(any_stall: Stall) -> None:
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")

    async def refuse(_: Sell) -> None:
        raise RefusalError("sold_out", "there is no tea left")

    stall.before = refuse
    await stall.open()

    await stall.send(sell("tea"))

    dead = await stall.dead_letter()
    assert dead.headers["carnet-reason"] == "sold_out"
    assert dead.headers["carnet-detail"] == "there is no tea left"
    assert dead.headers["carnet-queue"] == WORK.name
    assert dead.headers["carnet-service"] == MARKET
    assert str(dead.headers["carnet-failed-at"]).endswith("Z")
    assert await stall.sales() == []
    event = await stall.raw.next(heard)
    assert Unsold.from_body(event.body) == Unsold(code="sold_out")


async def test_a_long_reason_is_cut_short(stall: Stall) -> None:
    async def refuse(_: Sell) -> None:
        raise RefusalError("sold_out", "x" * 100_000)

    stall.before = refuse
    await stall.open()

    await stall.send(sell("tea"))

    assert (await stall.dead_letter()).headers["carnet-detail"] == "x" * 500


async def test_a_dead_letter_keeps_the_message_and_its_proofs_and_nothing_else(
    stall: Stall,
) -> None:
    await stall.open()
    message = sell().but(body=b"no json").envelope
    foreign = {**message.headers, "x-death": "forged", "other": "1", "carnet-note": "kept"}

    await stall.raw.publish(
        "carnet.commands", "market.sell", message.body, headers=foreign, type=message.route.type
    )

    dead = await stall.dead_letter()
    assert dead.body == message.body
    assert dead.type == message.route.type
    kept = {n: v for n, v in dead.headers.items() if not n.startswith(("x-", "carnet-failed"))}
    assert kept == {
        **message.headers,
        "carnet-note": "kept",
        "carnet-reason": "invalid_body",
        "carnet-detail": ": json_invalid",
        "carnet-queue": WORK.name,
        "carnet-service": MARKET,
    }


async def test_a_command_that_is_too_early_waits_its_turn(any_stall: Stall) -> None:
    stall = any_stall

    async def wait_for_another(_: Sell) -> None:
        if len(stall.starts) == 1:
            raise NotYetError("the other one is not here yet")

    stall.before = wait_for_another
    await stall.open()

    await stall.send(sell("tea"))

    await stall.settled(2)
    assert stall.starts == ["tea", "tea"]
    assert await stall.sales() == ["tea"]
    assert stall.consumer.counts == {"retried": 1, "done": 1}
    assert await stall.rows(TABLES.retries) == 0


async def test_a_bug_in_the_handler_is_no_fault_of_the_message_s(stall: Stall) -> None:
    async def fail_once(_: Sell) -> None:
        if len(stall.starts) == 1:
            raise ZeroDivisionError

    stall.before = fail_once
    await stall.open()

    await stall.send(sell("tea"))

    await stall.settled(2)
    assert await stall.sales() == ["tea"]


async def test_a_command_that_never_succeeds_is_given_up_and_told(stall: Stall) -> None:
    async def fail(_: Sell) -> None:
        raise NotYetError("still not")

    stall.before = fail
    message = sell("tea")
    await stall.execute(
        insert(TABLES.retries).values(
            iss=GATEWAY, jti=message.message_id, attempts=len(WORK.retries), at=0
        )
    )
    await stall.open()

    await stall.send(message)

    dead = await stall.dead_letter()
    assert dead.headers["carnet-reason"] == Code.EXHAUSTED
    assert dead.headers["carnet-detail"] == "failed 6 times, at last: still not"
    assert [refusal.code for refusal in stall.refusals] == [Code.EXHAUSTED]
    assert await stall.sales() == []


async def test_forged_retry_headers_change_no_count(stall: Stall) -> None:
    async def fail_once(_: Sell) -> None:
        if len(stall.starts) == 1:
            raise NotYetError("not yet")

    stall.before = fail_once
    await stall.open()
    message = sell("tea").envelope
    forged = {"x-death": [{"count": 1000, "queue": WORK.name}], "x-delivery-count": 1000}

    await stall.raw.publish(
        "carnet.commands",
        "market.sell",
        message.body,
        headers={**message.headers, **forged, "carnet-attempt": "1000"},
        type=message.route.type,
    )

    await stall.settled(2)
    assert stall.consumer.counts == {"retried": 1, "done": 1}
    assert await stall.sales() == ["tea"]


async def test_nothing_is_refused_while_trust_is_away(stall: Stall) -> None:
    stall.trust.silent = True
    await stall.open()
    await stall.send(sell("tea"), sell("milk"))
    await until(lambda: stall.waiting() == 2)
    assert stall.consumer.counts.total() == 0

    stall.trust.silent = False

    await stall.settled(2)
    assert await stall.sales() == ["milk", "tea"]


async def test_nothing_is_refused_while_the_database_is_away(any_stall: Stall) -> None:
    stall = any_stall
    await stall.execute("ALTER TABLE inbox RENAME TO elsewhere")
    await stall.open()
    await stall.send(sell("tea"), sell().but(body=b"no json"))
    await until(lambda: stall.waiting() == 2)
    assert stall.consumer.counts.total() == 0

    await stall.execute("ALTER TABLE elsewhere RENAME TO inbox")

    await stall.settled(2)
    assert await stall.sales() == ["tea"]
    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.INVALID_BODY


async def test_a_refusal_that_cannot_be_told_stands_all_the_same(any_stall: Stall) -> None:
    stall = any_stall

    async def fail() -> None:
        await stall.works[-1].session.execute(
            insert(SALES).values(id="half", what="half", who="nobody")
        )
        raise ZeroDivisionError

    stall.before_refusal = fail
    await stall.open()

    await stall.send(sell().but(body=b"no json"), sell("tea"))

    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.INVALID_BODY
    await stall.settled(2)
    assert await stall.sales() == ["tea"]
    assert await stall.rows(TABLES.inbox) == 2


async def test_the_database_may_go_away_while_a_refusal_is_told(any_stall: Stall) -> None:
    stall = any_stall

    async def lose_the_outbox_once() -> None:
        if len(stall.refusals) == 1:
            await stall.works[-1].session.execute(text("SELECT * FROM elsewhere"))

    stall.before_refusal = lose_the_outbox_once
    await stall.open()

    await stall.send(sell().but(body=b"no json"))

    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.INVALID_BODY
    assert len(stall.refusals) == 2


async def test_under_public_the_caller_is_the_client_that_sealed(stall: Stall) -> None:
    callers = []

    async def sell_to_anybody(command: Sell, caller: Principal, work: UnitOfWork) -> None:
        del command, work
        callers.append(caller)

    stall.consumer = CommandConsumer(WORK)
    stall.consumer.handles(Sell, public())(sell_to_anybody)
    await stall.open()
    message = sell()
    now, body = time.time(), message.command.to_body()
    seal = party(GATEWAY).sealer.command(
        route=Sell.route,
        audience=MARKET,
        message_id=message.message_id,
        body=body,
        carnet=None,
        now=now,
        expires_at=now + 60,
    )

    await stall.publisher.publish(
        Envelope.sealed(Sell.route, body, seal=seal, carnet=None), deadline=WAIT
    )

    await stall.settled(1)
    assert [caller.subject for caller in callers] == ["service:api-gateway"]
    assert callers[0].scopes == frozenset()


async def _unused(command: Sell, caller: Principal, work: UnitOfWork) -> None:
    del command, caller, work


def test_a_handler_without_a_policy_is_not_registered() -> None:
    consumer = CommandConsumer(WORK)

    with pytest.raises(TypeError):
        consumer.handles(Sell)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Policy"):
        consumer.handles(Sell, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Policy"):
        consumer.handles(Sell, "market:sell")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Expiry"):
        consumer.handles(
            Sell,
            requires(SELL_SCOPE),
            expiry=timedelta(days=1),  # type: ignore[arg-type]
        )


def test_a_command_has_one_handler() -> None:
    consumer = CommandConsumer(WORK)
    register = consumer.handles(Sell, requires(SELL_SCOPE))
    register(_unused)

    with pytest.raises(ValueError, match="has a handler already"):
        consumer.handles(Sell, requires(SELL_SCOPE), expiry=at_acceptance(timedelta(hours=1)))(
            _unused
        )


def test_only_an_async_handler_of_a_command_is_registered() -> None:
    consumer = CommandConsumer(WORK)

    def not_async(command: Command, caller: Principal, work: UnitOfWork) -> None:
        del command, caller, work

    with pytest.raises(TypeError, match="async"):
        consumer.handles(Sell, requires(SELL_SCOPE))(not_async)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="kind of Command"):
        consumer.handles(AskPrice, requires(SELL_SCOPE))(_unused)  # type: ignore[type-var, arg-type]


async def test_a_consumer_without_handlers_does_not_run(stall: Stall) -> None:
    with pytest.raises(ValueError, match="no handler"):
        await CommandConsumer(WORK).run(stall.parts, asyncio.Event())
