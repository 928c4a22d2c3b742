"""Starts that are counted, deliveries that are not: what may be poison runs alone."""

import asyncio
from typing import Any

from sqlalchemy import event, insert, select

from auth.errors import Code
from auth.message import UnverifiedMessage
from auth.policy import at_acceptance, requires
from messaging.errors import DatabaseUnavailableError
from messaging.retries import CRASHES, forget_attempts
from tests.messaging.market import (
    GATEWAY,
    MARKET,
    ONE_DAY,
    SELL_SCOPE,
    WORK,
    Message,
    Sell,
    sell,
    verifier_of,
)
from tests.messaging.raw import raw_channel, until
from tests.messaging.stall import TABLES, Stall


async def drop(amqp_url: str, count: int = 1) -> None:
    """Take messages and vanish with them: the broker delivers them again."""
    async with raw_channel(amqp_url) as taker:
        queue = await taker.channel.get_queue(WORK.name, ensure=False)
        for _ in range(count):
            await queue.get(timeout=20)


async def crashed(stall: Stall, message: Message, starts: int) -> None:
    """As if processes had written down their starts and died."""
    row = {"attempts": 0, "starts": starts, "started_by": "another", "at": 0}
    await stall.execute(insert(TABLES.retries).values(iss=GATEWAY, jti=message.message_id, **row))


async def starts_of(stall: Stall) -> list[int]:
    async with stall.database.session() as session:
        return list((await session.scalars(select(TABLES.retries.c.starts))).all())


async def test_a_first_delivery_costs_no_write(stall: Stall) -> None:
    statements: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(stall.database.engine.sync_engine, "before_cursor_execute", note)
    await stall.open()

    await stall.send(sell("tea"))

    await stall.settled(1)
    assert any("INSERT INTO inbox" in statement for statement in statements)
    assert not [statement for statement in statements if "retries" in statement]


async def test_a_redelivered_message_runs_alone_and_leaves_no_count(
    any_stall: Stall, amqp_url: str
) -> None:
    stall = any_stall
    entered, opened = asyncio.Event(), asyncio.Event()

    async def hold(command: Sell) -> None:
        if command.what == "again":
            entered.set()
            await opened.wait()

    stall.before = hold
    await stall.send(sell("again"))
    await drop(amqp_url)
    await stall.open()
    await entered.wait()

    await stall.send(sell("tea"), sell("milk"))
    await until(lambda: stall.waiting() == 3)

    assert stall.starts == ["again"]
    assert await starts_of(stall) == [1]
    opened.set()
    await stall.settled(3)
    assert await stall.sales() == ["again", "milk", "tea"]
    assert await stall.rows(TABLES.retries) == 0


async def test_neighbours_of_a_crash_are_handled_without_a_count_left(
    any_stall: Stall, amqp_url: str
) -> None:
    stall = any_stall
    await stall.send(*(sell() for _ in range(20)))
    for _ in range(CRASHES + 1):
        await drop(amqp_url, 20)

    await stall.open()

    await stall.settled(20)
    assert stall.consumer.counts == {"done": 20}
    assert await stall.rows(TABLES.retries) == 0


async def test_after_the_fifth_crash_a_message_is_refused_told_and_not_started(
    any_stall: Stall, amqp_url: str
) -> None:
    """Four starts are written down; the first one, of the first delivery, never is."""
    stall = any_stall
    message = sell("tea")
    await stall.send(message)
    await drop(amqp_url)
    await crashed(stall, message, CRASHES - 1)

    await stall.open()

    dead = await stall.dead_letter()
    assert dead.headers["carnet-reason"] == Code.POISON
    assert dead.headers["carnet-detail"] == "its handling ended 5 processes"
    assert stall.starts == []
    assert [refusal.code for refusal in stall.refusals] == [Code.POISON]
    assert await stall.rows(TABLES.retries) == 0
    async with stall.database.session() as session:
        rows = (await session.execute(select(TABLES.inbox.c.outcome, TABLES.inbox.c.code))).all()
    assert rows == [("refused", "poison")]


async def test_before_the_fifth_crash_it_is_started_again(any_stall: Stall, amqp_url: str) -> None:
    stall = any_stall
    message = sell("tea")
    await stall.send(message)
    await drop(amqp_url)
    await crashed(stall, message, CRASHES - 2)

    await stall.open()

    await stall.settled(1)
    assert await stall.sales() == ["tea"]


async def test_a_refusal_that_kills_its_teller_goes_untold(stall: Stall, amqp_url: str) -> None:
    message = sell().but(body=b"no json")
    await stall.send(message)
    await drop(amqp_url)
    await crashed(stall, message, CRASHES)

    await stall.open()

    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.POISON
    assert stall.refusals == []


async def test_a_forged_delivery_count_changes_nothing(stall: Stall) -> None:
    await stall.open()
    message = sell("tea").envelope

    await stall.raw.publish(
        message.route.exchange,
        message.route.routing_key,
        message.body,
        headers={**message.headers, "x-delivery-count": 999, "x-acquired-count": 999},
        type=message.route.type,
    )

    await stall.settled(1)
    assert await stall.sales() == ["tea"]


async def test_what_one_process_starts_again_is_one_start(any_stall: Stall, amqp_url: str) -> None:
    """The database went away in the handler's middle: nobody crashed."""
    stall = any_stall
    seen: list[list[int]] = []

    async def lose_the_database(_: Sell) -> None:
        seen.append(await starts_of(stall))
        if len(stall.starts) < 3:
            raise DatabaseUnavailableError("gone")

    stall.before = lose_the_database
    await stall.send(sell("tea"))
    await drop(amqp_url)

    await stall.open()

    await stall.settled(1)
    assert stall.starts == ["tea"] * 3
    assert seen == [[1]] * 3
    assert await stall.sales() == ["tea"]


async def test_a_process_that_ends_in_order_has_not_crashed(
    any_stall: Stall, amqp_url: str
) -> None:
    """A handler that outlives the drain of one restart after another is not poison."""
    stall = any_stall
    await stall.send(sell("slow"))
    await drop(amqp_url)

    async def outlive(_: Sell) -> None:
        await asyncio.Event().wait()

    stall.before = outlive
    for restart in range(CRASHES + 1):
        await stall.open(drain=0.05)
        await until(lambda restart=restart: len(stall.starts) == restart + 1)  # type: ignore[misc]
        await stall.close()
        assert await starts_of(stall) == [0]

    stall.before = None
    await stall.open()
    await stall.settled(1)
    assert await stall.sales() == ["slow"]


async def test_a_failure_is_no_crash(any_stall: Stall, amqp_url: str) -> None:
    stall = any_stall

    async def fail_once(_: Sell) -> None:
        if len(stall.starts) == 1:
            raise ZeroDivisionError

    stall.before = fail_once
    message = sell("tea")
    await stall.send(message)
    await drop(amqp_url)
    await crashed(stall, message, CRASHES - 2)

    await stall.open()

    await until(lambda: stall.consumer.counts["retried"] == 1)
    assert await starts_of(stall) == [0]
    await stall.settled(2)
    assert await stall.sales() == ["tea"]


async def test_a_release_resets_the_counts(any_stall: Stall, amqp_url: str) -> None:
    stall = any_stall
    message = sell("tea")
    await stall.send(message)
    await drop(amqp_url)
    await crashed(stall, message, CRASHES)
    envelope = message.envelope
    verified = verifier_of(MARKET, stall.trust).command(
        UnverifiedMessage(envelope.body, envelope.headers, Sell.route.type),
        Sell.route,
        requires(SELL_SCOPE),
        at_acceptance(ONE_DAY),
        now=message.sealed_at,
    )

    async with stall.database.transaction() as session:
        await forget_attempts(session, TABLES.retries, verified)

    await stall.open()
    await stall.settled(1)
    assert await stall.sales() == ["tea"]


async def test_a_handler_over_its_time_is_undone_and_tried_later(any_stall: Stall) -> None:
    stall = any_stall

    async def hang_once(_: Sell) -> None:
        if len(stall.starts) == 1:
            await asyncio.Event().wait()

    stall.before = hang_once
    await stall.open(time_limit=0.1)

    await stall.send(sell("tea"))

    await stall.settled(2)
    assert stall.consumer.counts == {"retried": 1, "done": 1}
    assert await stall.sales() == ["tea"]
