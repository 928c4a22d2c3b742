"""The inbox forgets what can come no more, and nothing else."""

import asyncio
import time
from datetime import timedelta

from sqlalchemy import insert, select

from auth.policy import at_acceptance, at_processing, requires
from auth.principal import Principal
from messaging.consumer import CommandConsumer
from messaging.contract import Command
from messaging.pruning import BATCH, Pruner, retention
from messaging.unit_of_work import UnitOfWork
from tests.messaging.market import GATEWAY, ONE_DAY, SELL_SCOPE, WORK, Sell, sell
from tests.messaging.stall import TABLES, Stall

OLD = 1_000_000


async def fill(stall: Stall, old: int, young: int) -> None:
    """Rows of both tables: some that nobody needs any more, some that may be asked for."""
    now = int(time.time())
    times = [OLD] * old + [now] * young
    keys = [{"iss": GATEWAY, "jti": f"message-{n:08}", "at": at} for n, at in enumerate(times)]
    inbox = [key | {"value": "v", "outcome": "done", "code": None} for key in keys]
    async with stall.database.transaction() as session:
        await session.execute(insert(TABLES.inbox), inbox)
        await session.execute(insert(TABLES.retries), [key | {"attempts": 1} for key in keys])


def pruner_of(stall: Stall) -> Pruner:
    return Pruner(
        stall.database, TABLES, keep=stall.consumer.retention, clock=time.time, interval=0.01
    )


async def _unused(command: Command, caller: Principal, work: UnitOfWork) -> None:
    del command, caller, work


def test_rows_are_kept_for_longer_than_the_longest_life_of_a_message() -> None:
    """The most patient handler decides, with clocks that differ, and every retry on top."""
    consumer = CommandConsumer(WORK)
    consumer.handles(Sell, requires(SELL_SCOPE), expiry=at_acceptance(ONE_DAY))(_unused)
    retries = timedelta(seconds=1 + 5 + 30 + 2 * 60 + 10 * 60)

    assert consumer.retention == ONE_DAY + timedelta(seconds=60) + retries
    week = timedelta(days=7)
    rules = [at_processing(), at_acceptance(week), at_acceptance(ONE_DAY)]
    assert retention(rules, WORK) == week + timedelta(seconds=60) + retries


async def test_old_rows_go_batch_by_batch_and_young_ones_stay(any_stall: Stall) -> None:
    stall = any_stall
    await fill(stall, old=2 * BATCH + 1, young=3)

    pruned = await pruner_of(stall).prune(asyncio.Event())

    assert pruned == 2 * (2 * BATCH + 1)
    async with stall.database.session() as session:
        for table in (TABLES.inbox, TABLES.retries):
            left = (await session.scalars(select(table.c.at))).all()
            assert len(left) == 3
            assert OLD not in left


async def test_replicas_that_prune_at_once_share_the_work(any_stall: Stall) -> None:
    stall = any_stall
    await fill(stall, old=2 * BATCH, young=0)

    counts = await asyncio.gather(*(pruner_of(stall).prune(asyncio.Event()) for _ in range(3)))

    assert sum(counts) == 4 * BATCH
    assert await stall.rows(TABLES.inbox) + await stall.rows(TABLES.retries) == 0


async def test_pruning_stops_between_two_batches(any_stall: Stall) -> None:
    await fill(any_stall, old=3, young=0)
    shutdown = asyncio.Event()
    shutdown.set()

    assert await pruner_of(any_stall).prune(shutdown) == 0


async def test_the_consumer_prunes_beside_its_work_and_outlives_a_database_that_is_away(
    stall: Stall,
) -> None:
    await fill(stall, old=5, young=0)
    await stall.execute("ALTER TABLE retries RENAME TO elsewhere")
    await stall.open(pruning=0.01)
    await stall.send(sell("tea"))
    await stall.settled(1)
    await stall.until_rows(TABLES.inbox, 1)

    await stall.execute("ALTER TABLE elsewhere RENAME TO retries")

    await stall.until_rows(TABLES.retries, 0)
    assert await stall.sales() == ["tea"]
