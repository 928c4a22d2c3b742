"""Commands about the same thing: in the order in which they came, or behind who waits."""

import asyncio
import time

import pytest
from sqlalchemy import insert

from auth.errors import Code, RefusalError
from messaging.errors import NotYetError
from tests.messaging.market import GATEWAY, Message, Sell, sell
from tests.messaging.raw import until
from tests.messaging.stall import TABLES, Stall
from tests.messaging.wire import Wire


def of_lot(what: str, lot: str = "7") -> Message:
    return sell().but(command=Sell(what=what, lot=lot))


def failing(stall: Stall, what: str, error: Exception, times: int = 1) -> None:
    """The handler raises on its first tries at `what`."""

    async def fail(command: Sell) -> None:
        if command.what == what and stall.starts.count(what) <= times:
            raise error

    stall.before = fail


async def test_sales_of_one_lot_are_handled_one_at_a_time_as_they_came(any_stall: Stall) -> None:
    """While the first one takes its time, those of other lots go on where the database can."""
    stall = any_stall
    gate = asyncio.Event()
    side_by_side = stall.database.url.get_backend_name() == "postgresql"

    async def hold(command: Sell) -> None:
        if command.what == "a 0":
            await gate.wait()

    stall.before = hold
    await stall.open(concurrency=16)

    await stall.send(*(of_lot(f"a {number}") for number in range(8)), of_lot("b", lot="8"))
    if side_by_side:
        await until(lambda: stall.consumer.counts["done"] == 1)
        assert stall.starts == ["a 0", "b"]
    await until(lambda: stall.waiting() == (8 if side_by_side else 9))
    gate.set()
    await stall.settled(9)
    assert [what for what in stall.starts if what != "b"] == [f"a {n}" for n in range(8)]


async def test_who_comes_later_waits_behind_who_failed(any_stall: Stall) -> None:
    stall = any_stall
    failing(stall, "first", ZeroDivisionError())
    await stall.open()

    await stall.send(of_lot("first"), of_lot("second"), of_lot("third"), of_lot("other", lot="8"))

    await until(lambda: stall.consumer.counts["done"] == 4)
    of_the_lot = [what for what in stall.starts if what != "other"]
    assert of_the_lot == ["first", "first", "second", "third"]
    assert await stall.rows(TABLES.retries) == 0


async def test_who_comes_later_waits_at_another_replica_too(any_stall: Stall) -> None:
    stall = any_stall
    starts: list[str] = []
    twin = Stall(stall.link, stall.publisher, stall.raw, stall.database, trust=stall.trust)
    failing(stall, "first", ZeroDivisionError())
    stall.starts = twin.starts = starts
    await stall.open()
    await stall.send(of_lot("first"))
    await until(lambda: stall.consumer.counts["retried"] == 1)
    await stall.close()
    await twin.open()

    await stall.send(of_lot("second"))

    await until(lambda: twin.consumer.counts["done"] == 2)
    assert starts == ["first", "first", "second"]
    await twin.close()


async def test_who_waits_for_something_to_happen_holds_up_nobody(any_stall: Stall) -> None:
    """A cancel that overtook its order must not keep the order from being placed."""
    stall = any_stall

    async def needs_the_order(command: Sell) -> None:
        if command.what == "cancel" and "order" not in stall.starts:
            raise NotYetError("no order yet")

    stall.before = needs_the_order
    await stall.open()

    await stall.send(of_lot("cancel"))
    await until(lambda: stall.consumer.counts["retried"] == 1)
    await stall.send(of_lot("order"))

    await until(lambda: stall.consumer.counts["done"] == 2)
    assert stall.starts == ["cancel", "order", "cancel"]


async def test_who_overtook_does_not_use_up_its_tries_while_the_first_one_waits(
    stall: Stall,
) -> None:
    """Once the order is known to wait, its cancel waits behind it and is not counted."""
    failing(stall, "order", ZeroDivisionError())
    cancel = of_lot("cancel")
    row = {"iss": GATEWAY, "jti": cancel.message_id, "attempts": 5, "about": "7", "at": 0}
    await stall.execute(insert(TABLES.retries).values(row))
    await stall.open()

    await stall.send(of_lot("order"), cancel)

    await until(lambda: stall.consumer.counts["done"] == 2)
    assert stall.starts == ["order", "order", "cancel"]


async def test_who_is_refused_after_all_holds_up_nobody(any_stall: Stall) -> None:
    stall = any_stall

    async def fail_then_refuse(command: Sell) -> None:
        if command.what == "first":
            if stall.starts.count("first") == 1:
                raise ZeroDivisionError
            raise RefusalError("sold_out", "there is none left")

    stall.before = fail_then_refuse
    await stall.open()

    await stall.send(of_lot("first"), of_lot("second"))

    assert (await stall.dead_letter()).headers["carnet-reason"] == "sold_out"
    await until(lambda: stall.consumer.counts["done"] == 1)
    assert await stall.sales() == ["second"]
    assert await stall.rows(TABLES.retries) == 0


@pytest.mark.parametrize(("until_in", "retried"), [(60, 1), (-60, 0)])
async def test_nobody_is_held_up_by_what_can_come_no_more(
    any_stall: Stall, until_in: int, retried: int
) -> None:
    """As when its queue was purged: after the end of its seal it is waited for no longer."""
    stall = any_stall
    now = int(time.time())
    gone = {"iss": GATEWAY, "jti": "a-message-that-is-gone", "attempts": 1, "about": "7"}
    line = {"stays_ahead": True, "since": (now - 3600) * 1000, "until": now + until_in}
    await stall.execute(insert(TABLES.retries).values({**gone, **line, "at": now}))
    await stall.open()

    await stall.send(of_lot("second"))

    await stall.settled(1)
    assert stall.consumer.counts["retried"] == retried
    assert stall.starts == ([] if retried else ["second"])


async def test_the_order_outlives_that_trust_is_away(any_stall: Stall) -> None:
    stall = any_stall
    stall.trust.silent = True
    await stall.open()
    await stall.send(*(of_lot(str(number)) for number in range(12)))
    await until(lambda: stall.waiting() == 12)

    stall.trust.silent = False

    await stall.settled(12)
    assert stall.starts == [str(number) for number in range(12)]


async def test_the_order_outlives_that_the_database_is_away(any_stall: Stall) -> None:
    stall = any_stall
    await stall.execute("ALTER TABLE inbox RENAME TO elsewhere")
    await stall.open()
    await stall.send(*(of_lot(str(number)) for number in range(12)))
    await until(lambda: stall.waiting() == 12)

    await stall.execute("ALTER TABLE elsewhere RENAME TO inbox")

    await stall.settled(12)
    assert stall.starts == [str(number) for number in range(12)]


async def test_who_is_revoked_while_a_command_waits_its_turn_is_refused(stall: Stall) -> None:
    gate = asyncio.Event()
    waited = 0.0

    async def hold(_: Sell) -> None:
        await gate.wait()

    stall.before = hold
    await stall.open(clock=lambda: time.time() + waited)
    await stall.send(of_lot("first"), of_lot("second"))
    await until(lambda: stall.waiting() == 2 and stall.starts == ["first"])

    waited = 1.0
    stall.trust.revocations.revoke_session("session-of-alice-0001", until=int(time.time()) + 900)
    gate.set()

    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.REVOKED
    assert await stall.sales() == ["first"]


async def test_what_waits_its_turn_when_the_channel_is_lost_is_not_started_twice(
    any_stall: Stall, wire: Wire
) -> None:
    stall = any_stall
    gate = asyncio.Event()

    async def hold(command: Sell) -> None:
        if command.what == "0":
            await gate.wait()

    stall.before = hold
    await stall.open()
    await stall.send(*(of_lot(str(number)) for number in range(6)))
    await until(lambda: stall.starts == ["0"] and stall.waiting() == 6)

    wire.cut()
    await until(lambda: not stall.consumer.ready)
    await until(lambda: stall.consumer.ready and stall.waiting() == 6)
    gate.set()

    await stall.settled(7)
    assert stall.starts == [str(number) for number in range(6)]
    assert len(await stall.sales()) == 6
