"""The outbox relay: at least once, under one id, in order."""

import asyncio
import time

from sqlalchemy import insert

from messaging.relay import OutboxRelay
from tests.messaging.market import ALICE, MARKET, Sold, party, sell
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import TABLES, Stall
from tests.messaging.wire import Wire


async def _store(stall: Stall, *ids: str) -> None:
    rows = [
        {
            "message_id": message_id,
            "exchange": Sold.route.exchange,
            "routing_key": Sold.route.routing_key,
            "type": Sold.route.type,
            "body": Sold(what=message_id).to_body(),
            "subject": ALICE,
            "cause": "message-000000000000001",
            "trace": {},
            "created_at": 0,
        }
        for message_id in ids
    ]
    await stall.execute(insert(TABLES.outbox).values(rows))


async def _empty(stall: Stall) -> None:
    async with asyncio.timeout(WAIT):
        while await stall.rows(TABLES.outbox):  # noqa: ASYNC110 - a table has no event
            await asyncio.sleep(0.02)


def _ids(count: int) -> list[str]:
    return [f"event-{number:016d}" for number in range(count)]


async def test_events_are_published_in_the_order_in_which_they_were_written(
    any_stall: Stall,
) -> None:
    heard = await any_stall.raw.listen("carnet.events", "market.*")
    await _store(any_stall, *_ids(250))

    await any_stall.open()

    bodies = [(await any_stall.raw.next(heard)).body for _ in range(250)]
    assert bodies == [Sold(what=message_id).to_body() for message_id in _ids(250)]
    await _empty(any_stall)


async def test_an_event_that_nobody_hears_is_done_with(any_stall: Stall) -> None:
    await _store(any_stall, *_ids(3))

    await any_stall.open()

    await _empty(any_stall)


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
    await _store(stall, *_ids(2))
    await until(lambda: not stall.link.connected)
    stall.relay.wake()

    wire.dead = False

    bodies = {(await stall.raw.next(heard)).body for _ in range(2)}
    assert bodies == {Sold(what=message_id).to_body() for message_id in _ids(2)}
    await _empty(stall)


async def test_what_was_committed_before_the_stop_is_published_by_it(any_stall: Stall) -> None:
    """A drained service leaves no event to its next start."""
    heard = await any_stall.raw.listen("carnet.events", "market.*")
    await _store(any_stall, *_ids(3))
    any_stall.shutdown.set()

    async with asyncio.timeout(WAIT):
        await any_stall.relay.run(any_stall.shutdown)

    bodies = [(await any_stall.raw.next(heard)).body for _ in range(3)]
    assert bodies == [Sold(what=message_id).to_body() for message_id in _ids(3)]
    assert not await any_stall.rows(TABLES.outbox)


async def test_two_relays_publish_each_event_under_its_one_id(any_stall: Stall) -> None:
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")
    await _store(stall, *_ids(150))
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
    await _empty(stall)
    shutdown.set()
    await asyncio.gather(*running)

    count = await stall.raw.count(heard)
    published = [(await stall.raw.next(heard)).body for _ in range(count)]
    assert set(published) == {Sold(what=message_id).to_body() for message_id in _ids(150)}
    if stall.database.url.get_backend_name() == "postgresql":
        assert count == 150


async def test_the_relay_waits_for_the_database(any_stall: Stall) -> None:
    stall = any_stall
    await _store(stall, *_ids(1))
    await stall.execute("ALTER TABLE outbox RENAME TO elsewhere")
    heard = await stall.raw.listen("carnet.events", "market.*")
    await stall.open()

    await stall.execute("ALTER TABLE elsewhere RENAME TO outbox")

    assert (await stall.raw.next(heard)).type == Sold.route.type
