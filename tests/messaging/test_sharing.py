"""Commands that share a transaction: all of it becomes true, and what is odd is done by itself."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Executable, event, insert, text

from auth.errors import RefusalError
from auth.message import CARNET_SEAL
from auth.verifier import Opened, Verifier
from messaging.errors import DatabaseUnavailableError, NotYetError, RepeatedError
from messaging.unit_of_work import UnitOfWork
from tests.messaging.market import GATEWAY, MARKET, WORK, Message, Sell, make_carnet, sell
from tests.messaging.raw import until
from tests.messaging.stall import TABLES, Stall

FILLERS = 3
RETURNED = (("x-death", "forged"),)
"""As if it came out of a retry queue: then it is handled by itself."""


class _Counting(Verifier):
    opened = 0
    """Commands that were checked up to their signatures."""

    def open_command(self, *arguments: Any, **options: Any) -> Opened:
        self.opened += 1
        return super().open_command(*arguments, **options)


@pytest_asyncio.fixture
async def sharing(any_stall: Stall) -> Stall:
    """A stall on each kind of database whose sales may share a transaction, not yet consuming."""
    any_stall.share()
    return any_stall


async def at_once(stall: Stall, *messages: Message, **parts: Any) -> None:
    """Open the stall, and have these looked at all at once, while no transaction is shared.

    Trust is away until they have all arrived behind three others: one is being judged, one is
    next, and with one the consumer stops taking more. Those are handled by themselves.
    """
    verifier = _Counting(stall.trust, audience=MARKET)
    stall.trust.silent = True
    await stall.open(verifier=verifier, **parts)
    for number in range(FILLERS):
        await stall.send(sell("filler").but(extra=RETURNED))
        await until(lambda number=number: verifier.opened == number + 1)  # type: ignore[misc]
    await stall.send(*messages)
    await until(lambda: stall.waiting() == FILLERS + len(messages))
    stall.trust.silent = False


def numbered(count: int, **changes: Any) -> list[Message]:
    return [sell().but(command=Sell(what=str(number), **changes)) for number in range(count)]


def claims(stall: Stall, *, shared: bool = False) -> list[object]:
    """The transactions that claim inbox rows from now on; `shared`: only of many at once."""
    transactions: list[object] = []

    def note(transaction: object, statement: str) -> None:
        claim = statement.startswith("INSERT INTO inbox")
        if shared and "WHERE" in statement:  # a claim by itself may say when not to
            return
        if claim and transaction not in transactions:
            transactions.append(transaction)

    engine = stall.database.engine.sync_engine
    if engine.dialect.name == "sqlite":
        event.listen(engine, "checkout", partial(_trace, note))
    else:
        event.listen(
            engine,
            "before_cursor_execute",
            lambda connection, _, statement, *__: note(connection.get_transaction(), statement),
        )
    return transactions


def _trace(note: Callable[[object, str], None], connection: Any, *_: object) -> None:
    """SQLite itself tells of the statements: many pass SQLAlchemy by."""
    transaction = object()

    def trace(statement: str) -> None:
        nonlocal transaction
        if statement.startswith("BEGIN"):
            transaction = object()
        note(transaction, statement)

    connection.run_async(lambda driver: driver.set_trace_callback(trace))


def sold(stall: Stall) -> list[str]:
    """What the handler was started with, but for the fillers."""
    return [what for what in stall.starts if what != "filler"]


async def sales(stall: Stall) -> list[str]:
    return [what for what in await stall.sales() if what != "filler"]


async def test_what_comes_at_once_shares_a_transaction(sharing: Stall) -> None:
    transactions = claims(sharing)

    await at_once(sharing, *numbered(40))

    await sharing.settled(FILLERS + 40)
    assert len(transactions) == FILLERS + 1
    assert sold(sharing) == [str(number) for number in range(40)]
    assert await sales(sharing) == sorted(map(str, range(40)))
    await until(lambda: sharing.waiting() == 0)
    await sharing.until_rows(TABLES.outbox, 0)


async def test_every_unit_of_work_is_flushed(sharing: Stall) -> None:
    """Also of a service that puts nothing off for others."""
    flushed: list[str] = []

    class Noting(UnitOfWork):
        async def flush(self) -> None:
            flushed.append(self.message.seal.jti)

    messages = numbered(5)

    await at_once(sharing, *messages, unit_of_work=Noting)

    await sharing.settled(FILLERS + 5)
    assert flushed[FILLERS:] == [message.message_id for message in messages]


@pytest.mark.parametrize(
    ("error", "outcomes"),
    [
        (ZeroDivisionError(), {"done": FILLERS + 10, "retried": 1}),
        (asyncio.CancelledError(), {"done": FILLERS + 10, "retried": 1}),
        (NotYetError("not yet"), {"done": FILLERS + 10, "retried": 1}),
        (DatabaseUnavailableError("gone"), {"done": FILLERS + 10}),
        (RefusalError("sold_out", "none left"), {"done": FILLERS + 9, "dead:sold_out": 1}),
        (RepeatedError("it was"), {"done": FILLERS + 10}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_one_that_raises_costs_the_others_nothing(
    sharing: Stall, error: BaseException, outcomes: dict[str, int]
) -> None:
    """It is run once with the others, and then by itself."""
    shared = claims(sharing, shared=True)

    async def fail_twice(command: Sell) -> None:
        if command.what == "4" and sharing.starts.count("4") <= 2:
            raise error

    sharing.before = fail_twice

    await at_once(sharing, *numbered(10))

    await until(lambda: sharing.consumer.counts == outcomes)
    others = [str(number) for number in range(10) if number != 4]
    assert [what for what in await sales(sharing) if what != "4"] == others
    assert max(map(sharing.starts.count, others)) == 2
    assert len(shared) == 2


async def test_one_that_hangs_is_done_by_itself_and_then_given_up(sharing: Stall) -> None:
    """Meanwhile the others are done, and so are those that come later."""
    gone_on = asyncio.Event()

    async def hang_twice(command: Sell) -> None:
        if command.what == "later":
            gone_on.set()
        if command.what == "4" and sharing.starts.count("4") <= 2:
            await asyncio.Event().wait()

    sharing.before = hang_twice
    await at_once(sharing, *numbered(10), time_limit=2.0)
    await until(lambda: sharing.consumer.counts["done"] == FILLERS + 9)
    assert "4" not in await sales(sharing)

    await sharing.send(sell("later"))

    await until(lambda: sharing.consumer.counts == {"done": FILLERS + 11, "retried": 1})
    assert gone_on.is_set()


async def test_many_that_fail_are_not_tried_together_again_and_again(sharing: Stall) -> None:
    """Each try takes one of them out: a hundred of them would cost a hundred times a hundred."""
    together = 3  # these are tried with the others, one in each try, and then by themselves
    tries = {f"bad {number}": 2 if number < together else 1 for number in range(8)}

    async def fail(command: Sell) -> None:
        if sharing.starts.count(command.what) <= tries.get(command.what, 0):
            raise ZeroDivisionError

    sharing.before = fail

    await at_once(sharing, *map(sell, tries), sell("good"))

    await until(lambda: sharing.consumer.counts == {"done": FILLERS + 9, "retried": 8})
    assert sharing.starts.count("good") == 1
    assert {what: sharing.starts.count(what) - 1 for what in tries} == tries


async def test_copies_of_one_command_have_one_effect_and_hold_up_nothing(sharing: Stall) -> None:
    """More copies than there is room for wait for a transaction that has not begun yet."""
    message = sell("tea").but(command=Sell(what="tea", lot="7"))

    await at_once(sharing, *[message] * 6, sell("salt"), concurrency=1)

    await sharing.settled(FILLERS + 7)
    assert sharing.consumer.counts == {"done": FILLERS + 7}
    assert await sales(sharing) == ["salt", "tea"]


async def test_who_may_share_does_not_overtake_who_may_not(sharing: Stall) -> None:
    of_the_lot = numbered(6, lot="7")
    of_the_lot[2] = of_the_lot[2].but(extra=RETURNED)

    await at_once(sharing, *of_the_lot, sell("salt"))

    await sharing.settled(FILLERS + 7)
    assert [what for what in sold(sharing) if what != "salt"] == [str(n) for n in range(6)]


async def test_those_behind_one_that_failed_wait_for_it(sharing: Stall) -> None:
    """In the same transaction: they are taken out of it too."""
    done: list[str] = []

    async def fail_twice(command: Sell) -> None:
        if command.what == "1" and sharing.starts.count("1") <= 2:
            raise ZeroDivisionError
        if command.what in sharing.starts[:-1] or command.lot is None:
            done.append(command.what)

    sharing.before = fail_twice

    await at_once(sharing, *numbered(4, lot="7"), sell("salt"))

    await until(lambda: sharing.consumer.counts["done"] == FILLERS + 5)
    last = [len(sold(sharing)) - sold(sharing)[::-1].index(str(number)) for number in range(4)]
    assert last == sorted(last)
    assert await sharing.rows(TABLES.retries) == 0


async def test_behind_one_that_waits_for_a_retry_nobody_shares(sharing: Stall) -> None:
    now = int(time.time())
    ahead = {"iss": GATEWAY, "jti": "the-one-ahead", "attempts": 1, "about": "7", "at": now}
    line = {"stays_ahead": True, "since": (now - 3600) * 1000, "until": now + 60}
    await sharing.execute(insert(TABLES.retries).values({**ahead, **line}))
    behind = sell("behind").but(command=Sell(what="behind", lot="7"))

    await at_once(sharing, *numbered(5), behind)

    await until(lambda: sharing.consumer.counts == {"done": FILLERS + 5, "retried": 1})
    assert "behind" not in sharing.starts


async def test_what_is_refused_in_between_is_no_part_of_it(sharing: Stall) -> None:
    messages = numbered(6)
    messages[3] = messages[3].but(body=b"no json")

    await at_once(sharing, *messages)

    await sharing.settled(FILLERS + 6)
    assert (await sharing.dead_letter()).headers["carnet-reason"] == "invalid_body"
    assert await sales(sharing) == ["0", "1", "2", "4", "5"]


async def test_a_forged_signature_among_many_is_found_and_costs_the_others_nothing(
    sharing: Stall,
) -> None:
    """It is another seal's, which is genuine, by the same key."""
    messages = numbered(6)
    seal, other = (messages[place].envelope.headers[CARNET_SEAL] for place in (3, 2))
    forged = f"{seal.rpartition('.')[0]}.{other.rpartition('.')[2]}"
    messages[3] = messages[3].but(extra=((CARNET_SEAL, forged),))

    await at_once(sharing, *messages)

    await sharing.settled(FILLERS + 6)
    assert (await sharing.dead_letter()).headers["carnet-reason"] == "bad_signature"
    assert await sales(sharing) == ["0", "1", "2", "4", "5"]
    assert sharing.refusals == []


async def test_who_grows_too_old_meanwhile_is_refused_and_nobody_else(sharing: Stall) -> None:
    """All are judged again when a transaction begins."""
    late = 0.0
    messages = numbered(4)
    old = sell("old").but(life=600)

    async def leave_time(command: Sell) -> None:
        nonlocal late
        if command.what == "0" and sharing.starts.count("0") == 1:
            late = 700.0
            raise ZeroDivisionError

    sharing.before = leave_time

    await at_once(sharing, *messages, old, clock=lambda: time.time() + late)

    assert (await sharing.dead_letter()).headers["carnet-reason"] == "too_old"
    await until(lambda: sharing.consumer.counts["done"] == FILLERS + 4)
    assert await sales(sharing) == ["0", "1", "2", "3"]


async def test_who_is_revoked_meanwhile_is_refused_and_nobody_else(sharing: Stall) -> None:
    """Within the second in which all were verified."""
    second, other = time.time(), "session-of-alice-0002"
    messages = numbered(4)
    revoked = sell("revoked").but(carnet=make_carnet(session=other))

    async def end_it(command: Sell) -> None:
        if command.what == "0" and sharing.starts.count("0") == 1:
            sharing.trust.revocations.revoke_session(other, until=int(second) + 900)
            raise ZeroDivisionError

    sharing.before = end_it

    await at_once(sharing, *messages, revoked, clock=lambda: second)

    assert (await sharing.dead_letter()).headers["carnet-reason"] == "revoked"
    await until(lambda: sharing.consumer.counts["done"] == FILLERS + 4)
    assert await sales(sharing) == ["0", "1", "2", "3"]
    assert "revoked" not in sharing.starts


async def test_a_transaction_that_breaks_in_the_middle_costs_the_others_nothing(
    sharing: Stall,
) -> None:
    """PostgreSQL loses its connection, SQLite refuses a statement; both once."""
    break_off: Executable = insert(TABLES.inbox).values(iss=None)
    if sharing.database.url.get_backend_name() == "postgresql":
        break_off = text("SELECT pg_terminate_backend(pg_backend_pid())")

    async def once(command: Sell) -> None:
        if command.what == "4" and sharing.starts.count("4") == 1:
            await sharing.last_work.session.execute(break_off)

    sharing.before = once

    await at_once(sharing, *numbered(10))

    await until(lambda: sharing.consumer.counts == {"done": FILLERS + 10})
    assert await sales(sharing) == [str(number) for number in range(10)]


async def test_at_shutdown_what_shares_is_finished_and_the_rest_given_back(sharing: Stall) -> None:
    gate = asyncio.Event()

    async def hold(command: Sell) -> None:
        if command.what == "4":
            await gate.wait()

    sharing.before = hold
    await at_once(sharing, *numbered(10))
    await until(lambda: "4" in sharing.starts)
    await sharing.send(*(sell(f"later {number}") for number in range(5)))
    await until(lambda: sharing.waiting() == 15)

    closing = asyncio.create_task(sharing.close())
    await sharing.shutdown.wait()
    gate.set()
    await closing

    assert await sales(sharing) == [str(number) for number in range(10)]
    await sharing.raw.until_count(WORK.name, 5)


async def test_what_outlives_the_drain_is_undone_and_given_back(sharing: Stall) -> None:
    async def hold(command: Sell) -> None:
        if command.what == "4":
            await asyncio.Event().wait()

    sharing.before = hold
    others = asyncio.all_tasks()
    await at_once(sharing, *numbered(10), drain=0.05)
    await sharing.settled(FILLERS)
    await until(lambda: "4" in sharing.starts)

    await sharing.close()

    assert await sales(sharing) == []
    await sharing.raw.until_count(WORK.name, 10)
    left = {task.get_name() for task in asyncio.all_tasks() - others}
    assert left.isdisjoint({"opening", "subscription"})


async def test_a_bug_of_ours_after_the_commit_gives_all_back_at_once(sharing: Stall) -> None:
    """They come again, each by itself, and are found to be done. One pause is for all of them."""
    raised = False
    wake = sharing.relay.wake

    def committed() -> None:
        nonlocal raised
        if not raised and "0" in sharing.starts:
            raised = True
            raise ZeroDivisionError
        wake()

    await at_once(sharing, *numbered(30), committed=committed)

    await sharing.settled(FILLERS + 30)
    assert raised
    assert sold(sharing) == [str(number) for number in range(30)]
    assert len(await sales(sharing)) == 30


async def test_a_refusal_that_is_cancelled_while_it_is_told_stands(sharing: Stall) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def refuse(command: Sell) -> None:
        if command.what == "1":
            raise RefusalError("sold_out", "none left")

    sharing.before, sharing.before_refusal = refuse, cancelled

    await at_once(sharing, *numbered(3))

    await until(lambda: sharing.consumer.counts == {"done": FILLERS + 2, "dead:sold_out": 1})
    assert await sales(sharing) == ["0", "2"]
