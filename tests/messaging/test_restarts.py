"""Consumers that are stopped and started again while work lies before them: all of it is done."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest_asyncio

from messaging.broker import Broker
from messaging.delivery import Delivery
from messaging.pause import first_of
from messaging.publisher import Publisher
from messaging.serving import serve
from messaging.subscription import Subscription, shared_queue
from tests.messaging.market import WORK, sell
from tests.messaging.mortal import Plan
from tests.messaging.raw import WAIT, Raw
from tests.messaging.stall import SALES, TABLES, Stall, open_stall
from tests.messaging.supervised import START, supervised

DRAIN = 10.0
"""Seconds that a consumer has to stop in, by its plan."""


@pytest_asyncio.fixture
async def shared_stall(
    link: Broker, publisher: Publisher, raw: Raw, postgres_url: str
) -> AsyncIterator[Stall]:
    """Queues, and tables that several processes may share."""
    async with open_stall(link, publisher, raw, postgres_url) as stall:
        yield stall


async def all_done(stall: Stall, count: int) -> None:
    """Everything was sold once, and nothing is left anywhere."""
    assert await stall.rows(SALES) == count
    assert await stall.rows(TABLES.inbox) == count
    assert await stall.rows(TABLES.retries) == 0
    for queue in (WORK.name, WORK.dead, *(retry.name for retry in WORK.retries)):
        assert await stall.raw.count(queue) == 0


async def test_a_stop_with_200_in_flight_finishes_what_runs_and_gives_back_the_rest(
    stall: Stall, amqp_url: str, tmp_path: Path
) -> None:
    """As Wolverine's test does. The next process does what the first one gave back."""
    plan = Plan(amqp_url, str(stall.database.url), work=0.01, parts={"drain": DRAIN})
    await stall.send(*(sell() for _ in range(200)))
    async with supervised(plan, tmp_path) as first:
        await first.until_ready()
        async with asyncio.timeout(START):
            while await stall.rows(SALES) < 10:  # noqa: ASYNC110 - a table has no event
                await asyncio.sleep(0.02)
        began = time.monotonic()
        assert await first.stop() == 0
        took = time.monotonic() - began

    done = await stall.rows(SALES)
    assert took < DRAIN + 5
    assert 10 <= done < 200
    assert await stall.rows(TABLES.inbox) == done
    assert await stall.raw.count(WORK.name) == 200 - done

    async with supervised(plan, tmp_path) as second:
        await stall.until_rows(SALES, 200, within=START)
        assert await second.stop() == 0

    await all_done(stall, 200)


async def test_a_rolling_restart_while_300_commands_come_leaves_none_behind(
    shared_stall: Stall, amqp_url: str, tmp_path: Path
) -> None:
    """Two replicas, each replaced by another one while the commands go on."""
    stall = shared_stall
    url = stall.database.url.render_as_string(hide_password=False)
    plan = Plan(amqp_url, url, work=0.01, parts={"drain": DRAIN})
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    restarted = asyncio.Event()

    async def send_all() -> None:
        """The last third comes only when all replicas have been replaced."""
        for number in range(300):
            if number == 200:
                await restarted.wait()
            await stall.send(sell())

    async with (
        supervised(plan, folders[0]) as old_one,
        supervised(plan, folders[1]) as old_two,
    ):
        await asyncio.gather(old_one.until_ready(), old_two.until_ready())
        sending = asyncio.create_task(send_all())
        async with supervised(plan, folders[2]) as new_one, supervised(plan, folders[3]) as new_two:
            assert await old_one.stop() == 0
            await new_one.until_ready()
            assert await old_two.stop() == 0
            await new_two.until_ready()
            restarted.set()
            await sending
            await stall.until_rows(SALES, 300, within=START)
            assert [await new_one.stop(), await new_two.stop()] == [0, 0]

    await all_done(stall, 300)


async def test_a_handler_that_heeds_no_cancellation_does_not_hold_up_the_stop(
    link: Broker, raw: Raw, publisher: Publisher
) -> None:
    entered, ended, shutdown = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def end_when_it_likes(_: Delivery) -> None:
        entered.set()
        while not ended.is_set():
            with suppress(asyncio.CancelledError):
                await ended.wait()

    await publisher.publish(sell("tea").envelope, deadline=WAIT)
    work = Subscription(link, shared_queue(WORK.name), prefetch=1)
    serving = asyncio.create_task(
        serve(work, end_when_it_likes, concurrency=1, drain=0.1, shutdown=shutdown)
    )
    assert await first_of(entered, timeout=WAIT)

    shutdown.set()
    async with asyncio.timeout(WAIT):
        await serving

    await raw.until_count(WORK.name, 1)
    ended.set()
