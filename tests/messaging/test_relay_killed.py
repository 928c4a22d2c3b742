"""Relays that are killed while they publish: nothing is lost, and the order is kept."""

import asyncio
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from messaging.broker import Broker
from messaging.publisher import Publisher
from tests.messaging.outbox_rows import emptied, first_heard, id_of, ids, row, store
from tests.messaging.raw import Raw
from tests.messaging.stall import TABLES, Stall, open_stall
from tests.messaging.wire import wire_to

START = 60.0


@asynccontextmanager
async def relay_process(database_url: str, amqp_url: str) -> AsyncIterator[Process]:
    """A relay in a process of its own, connected; killed at the end if it still runs."""
    command = ("-m", "tests.messaging.relay_process", database_url, amqp_url)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line  # its log, up to there
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_relay_that_is_killed_between_publish_and_removal_loses_nothing(
    any_stall: Stall, database_url: str, amqp_url: str
) -> None:
    """The broker has the first of each aggregate, and its confirm is on the way."""
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")
    async with wire_to(amqp_url) as wire, relay_process(database_url, wire.url) as relay:
        await store(stall.database, [row("event-before-all-others")])
        await stall.raw.take(heard, 1)
        await emptied(stall)
        wire.hold_answers()
        await store(stall.database, (row(each, f"a{n % 3}") for n, each in enumerate(ids(30))))
        before = [id_of(message) for message in await stall.raw.take(heard, 3)]
        relay.kill()
        await relay.wait()
        assert sorted(before) == ids(3)
        assert await stall.rows(TABLES.outbox) == 30

    async with relay_process(database_url, amqp_url):
        await emptied(stall)

    after = await stall.raw.take(heard)
    assert first_heard(after) == {f"a{n}": ids(30)[n::3] for n in range(3)}
    assert len(after) == 30  # the first three a second time, under the ids that they had


async def test_relays_that_come_and_go_keep_the_order_of_each_aggregate(
    link: Broker, publisher: Publisher, raw: Raw, postgres_url: str, amqp_url: str
) -> None:
    """Two share the work of 900 messages and are killed at it; another one ends it."""
    async with open_stall(link, publisher, raw, postgres_url) as stall:
        heard = await raw.listen("carnet.events", "market.*")
        async with asyncio.TaskGroup() as running:
            for _ in range(2):
                running.create_task(_killed_soon(postgres_url, amqp_url))
            for start in range(0, 900, 30):
                batch = list(enumerate(ids(900)))[start : start + 30]
                await store(stall.database, (row(each, f"a{n % 10}") for n, each in batch))
        async with relay_process(postgres_url, amqp_url):
            await emptied(stall, within=60)

        assert first_heard(await raw.take(heard)) == {f"a{n}": ids(900)[n::10] for n in range(10)}


async def _killed_soon(database_url: str, amqp_url: str) -> None:
    """A relay that is killed at a random moment of its work."""
    async with relay_process(database_url, amqp_url) as relay:
        await asyncio.sleep(secrets.SystemRandom().uniform(0, 0.3))
        relay.kill()
        await relay.wait()
