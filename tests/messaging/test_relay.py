"""The outbox relay: at least once, under one id, in order."""

import asyncio
import time

from messaging.relay import OutboxRelay
from tests.messaging.market import ALICE, MARKET, Sold, party, sell
from tests.messaging.outbox_rows import emptied, ids, row, store
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import TABLES, Stall
from tests.messaging.wire import Wire


async def _store(stall: Stall, *message_ids: str) -> None:
    await store(stall.database, (row(each) for each in message_ids))


def _body(message_id: str) -> bytes:
    return Sold(what=f"{ALICE}/{message_id}").to_body()


async def test_events_are_published_in_the_order_in_which_they_were_written(
    any_stall: Stall,
) -> None:
    heard = await any_stall.raw.listen("carnet.events", "market.*")
    await _store(any_stall, *ids(250))

    await any_stall.open()

    bodies = [message.body for message in await any_stall.raw.take(heard, 250)]
    assert bodies == [_body(each) for each in ids(250)]
    await emptied(any_stall)


async def test_an_event_that_nobody_hears_is_done_with(any_stall: Stall) -> None:
    await _store(any_stall, *ids(3))

    await any_stall.open()

    await emptied(any_stall)


async def test_a_commit_wakes_the_relay(stall: Stall) -> None:
    heard = await stall.raw.listen("carnet.events", "market.*")
    await stall.open()

    await stall.send(sell("tea"))

    assert (await stall.raw.next(heard)).body == Sold(what="tea").to_body()


async def test_events_wait_for_the_broker(stall: Stall, wire: Wire) -> None:
    heard = await stall.raw.listen("carnet.events", "market.*")
    await stall.open()
    wire.dead = True
    wire.cut()
    await _store(stall, *ids(2))
    await until(lambda: not stall.link.connected)
    stall.relay.wake()

    wire.dead = False

    bodies = {(await stall.raw.next(heard)).body for _ in range(2)}
    assert bodies == {_body(each) for each in ids(2)}
    await emptied(stall)


async def test_what_was_committed_before_the_stop_is_published_by_it(any_stall: Stall) -> None:
    """A drained service leaves no event to its next start."""
    heard = await any_stall.raw.listen("carnet.events", "market.*")
    await _store(any_stall, *ids(3))
    any_stall.shutdown.set()

    async with asyncio.timeout(WAIT):
        await any_stall.relay.run(any_stall.shutdown)

    bodies = [(await any_stall.raw.next(heard)).body for _ in range(3)]
    assert bodies == [_body(each) for each in ids(3)]
    assert not await any_stall.rows(TABLES.outbox)


async def test_two_relays_publish_each_event_under_its_one_id(any_stall: Stall) -> None:
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")
    await _store(stall, *ids(150))
    shutdown = asyncio.Event()
    relays = [
        OutboxRelay(
            database=stall.database,
            outbox=TABLES.outbox,
            publisher=stall.publisher,
            sealer=party(MARKET).sealer,
            clock=time.time,
        )
        for _ in range(2)
    ]
    running = [asyncio.create_task(relay.run(shutdown)) for relay in relays]
    await emptied(stall)
    shutdown.set()
    await asyncio.gather(*running)

    published = [message.body for message in await stall.raw.take(heard)]
    assert set(published) == {_body(each) for each in ids(150)}
    if stall.database.url.get_backend_name() == "postgresql":
        assert len(published) == 150


async def test_the_relay_waits_for_the_database(any_stall: Stall) -> None:
    stall = any_stall
    await _store(stall, *ids(1))
    await stall.execute("ALTER TABLE outbox RENAME TO elsewhere")
    heard = await stall.raw.listen("carnet.events", "market.*")
    await stall.open()

    await stall.execute("ALTER TABLE elsewhere RENAME TO outbox")

    assert (await stall.raw.next(heard)).type == Sold.route.type
