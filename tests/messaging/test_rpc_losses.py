"""RPC when the connection, the trust, the caller or the server is away, or time is up."""

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelLockedResource
from sqlalchemy import insert, select

from messaging.broker import Broker
from messaging.database import open_database
from messaging.errors import (
    BrokerUnavailableError,
)
from messaging.publisher import Publisher
from messaging.rpc import Caller, RpcRefusedError, RpcTimeoutError
from tests.messaging.counter import (
    READ_SCOPE,
    SHORT,
    Counter,
    gateway_client,
    open_counter,
)
from tests.messaging.market import (
    GATEWAY,
    MARKET,
    AskPrice,
    Price,
    make_carnet,
)
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import METADATA, SALES
from tests.messaging.wire import Wire, wire_to


async def test_a_caller_is_told_at_once_when_its_reply_can_no_longer_come(
    counter: Counter, publisher: Publisher, wire: Wire
) -> None:
    entered = asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    counter.answer = wait
    asked = asyncio.create_task(counter.ask(deadline=60))
    await entered.wait()
    # Its confirm has come as well: else the caller is told that, and no reply is missed.
    await until(lambda: len(publisher._backlog) == 0)

    wire.cut()

    with pytest.raises(BrokerUnavailableError):
        await asked


async def test_questions_are_answered_again_after_the_connection_broke(
    counter: Counter, wire: Wire
) -> None:
    wire.cut()
    await until(lambda: not counter.client.ready and not counter.server.ready)
    await until(lambda: counter.client.ready and counter.server.ready)

    assert await counter.ask() == Price(price=Decimal("4.20"))


async def test_a_question_while_the_broker_is_away_fails_in_time(
    counter: Counter, wire: Wire
) -> None:
    wire.dead = True
    wire.cut()
    await until(lambda: not counter.client.ready)

    with pytest.raises(BrokerUnavailableError):
        await counter.ask(deadline=0.3)

    wire.dead = False


# Trust that is away


async def test_a_question_while_trust_is_away_is_held_and_answered_once_it_is_back(
    counter: Counter,
) -> None:
    counter.trust.silent = True
    asked = asyncio.create_task(counter.ask())
    await until(lambda: counter.waiting == 1)
    assert not counter.server.counts

    counter.trust.silent = False

    assert await asked == Price(price=Decimal("4.20"))
    assert len(counter.callers) == 1


async def test_a_question_is_held_no_longer_than_it_counts(counter: Counter) -> None:
    counter.trust.silent = True

    with pytest.raises(RpcTimeoutError):
        await counter.ask(deadline=0.5)

    await until(lambda: counter.server.counts == {"dropped:trust_unavailable": 1})
    assert counter.waiting == 0
    assert counter.callers == []


async def test_a_question_that_is_held_is_left_to_another_when_we_stop(
    link: Broker, publisher: Publisher
) -> None:
    async with open_counter(link, publisher) as stopping:
        stopping.trust.silent = True
        asked = asyncio.create_task(stopping.ask())
        await until(lambda: stopping.waiting == 1)

        stopping.shutdown.set()

        async with open_counter(link, publisher) as other:
            assert await asked == Price(price=Decimal("4.20"))
            assert len(other.callers) == 1
        assert stopping.callers == []


async def test_a_question_that_is_held_comes_again_when_the_connection_breaks(
    link: Broker, publisher: Publisher, amqp_url: str
) -> None:
    async with wire_to(amqp_url) as wire:
        server_link = await Broker(wire.url, name="server").start(WAIT)
        async with open_counter(link, publisher, server_link=server_link) as counter:
            counter.trust.silent = True
            asked = asyncio.create_task(counter.ask(deadline=60))
            await until(lambda: counter.waiting == 1)

            wire.cut()

            await until(lambda: counter.waiting == 0)
            await until(lambda: counter.waiting == 1)
            counter.trust.silent = False
            assert await asked == Price(price=Decimal("4.20"))
            assert len(counter.callers) == 1
        await server_link.close(WAIT)


# Time that is up


async def test_a_handler_is_cancelled_at_its_request_s_end_and_nothing_answered(
    counter: Counter,
) -> None:
    cancelled = asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    counter.answer = wait

    with pytest.raises(RpcTimeoutError):
        await counter.ask(deadline=0.5)

    await asyncio.wait_for(cancelled.wait(), WAIT)
    await until(lambda: counter.server.counts == {"dropped:out_of_time": 1})
    counter.answer = None
    assert await counter.ask() == Price(price=Decimal("4.20"))
    assert not counter.client.counts


async def test_nothing_is_answered_late_by_a_handler_that_heeds_no_cancellation(
    counter: Counter,
) -> None:
    async def insist(_: AskPrice, __: Caller) -> Price:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return Price(price=Decimal(1))

    counter.answer = insist

    with pytest.raises(RpcTimeoutError):
        await counter.ask(deadline=0.5)

    await until(lambda: counter.server.counts == {"dropped:out_of_time": 1})
    counter.answer = None
    assert await counter.ask() == Price(price=Decimal("4.20"))
    assert not counter.client.counts


async def test_a_handler_s_own_time_out_is_no_end_of_the_request(counter: Counter) -> None:
    async def fail(_: AskPrice, __: Caller) -> Price:
        raise TimeoutError("something of its own")

    counter.answer = fail

    with pytest.raises(RpcRefusedError) as caught:
        await counter.ask()

    assert caught.value.code == "internal_error"
    assert counter.server.counts == {"failed": 1}


async def test_what_a_cancelled_handler_has_written_is_undone(
    counter: Counter, database_url: str
) -> None:
    database = open_database(database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    sale = {"id": "1", "what": "tea", "who": "ada"}

    async def write(_: AskPrice, __: Caller) -> Price:
        async with database.transaction() as session:
            await session.execute(insert(SALES).values(sale))
            await asyncio.Event().wait()
        raise AssertionError

    counter.answer = write
    with pytest.raises(RpcTimeoutError):
        await counter.ask(deadline=1)
    await until(lambda: counter.server.counts == {"dropped:out_of_time": 1})

    async with database.transaction() as session:  # nobody holds a lock any more
        assert (await session.scalars(select(SALES.c.what))).all() == []
        await session.execute(insert(SALES).values(sale))
    await database.close()


# Callers and servers that are gone


async def test_a_request_that_waited_here_for_its_whole_time_is_not_started_on(
    link: Broker, publisher: Publisher
) -> None:
    """The server has one hand; while that is busy, four more requests wait beside it."""
    busy, released = asyncio.Event(), asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        busy.set()
        await released.wait()
        return Price(price=Decimal(1))

    async with open_counter(link, publisher, concurrency=1) as counter:
        counter.answer = wait
        first = asyncio.create_task(counter.ask())
        await busy.wait()
        waiting = await asyncio.gather(
            *(counter.ask(deadline=0.5) for _ in range(4)), return_exceptions=True
        )
        assert [type(result) for result in waiting] == [RpcTimeoutError] * 4

        released.set()

        assert await first == Price(price=Decimal(1))
        assert await counter.ask() == Price(price=Decimal(1))
        assert len(counter.callers) == 2
        assert set(counter.server.counts) <= {"answered", "dropped:late"}


async def until_gone(queue: str, link: Broker) -> None:
    """Wait until the broker has deleted an exclusive queue: what comes while it does is nacked."""
    async with asyncio.timeout(WAIT):
        while True:
            channel = await link.consuming.channel(WAIT)
            try:
                with suppress(ChannelLockedResource):
                    await channel.declare_queue(queue, passive=True)
                    await channel.close()
            except ChannelNotFoundEntity:
                return
            await asyncio.sleep(0.02)


async def test_no_more_requests_of_a_caller_that_is_gone_are_started_on(
    link: Broker, publisher: Publisher, amqp_url: str
) -> None:
    """Its process has ended, and its reply queue with it: the first reply shows that."""
    busy, released = asyncio.Event(), asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        busy.set()
        await released.wait()
        return Price(price=Decimal(1))

    async with open_counter(link, publisher, concurrency=1) as counter:
        counter.answer = wait
        other = await Broker(amqp_url, name="soon gone").start(WAIT)
        asking = Publisher(other, client_id=GATEWAY)
        async with gateway_client(other, asking) as client:
            calls = [
                asyncio.create_task(
                    client.call(
                        AskPrice(what="tea"),
                        responder=MARKET,
                        deadline=60,
                        carnet=make_carnet(scope=READ_SCOPE),
                    )
                )
                for _ in range(6)
            ]
            await busy.wait()
            await until(lambda: counter.waiting == 5)
            replies = await client._subscription.wait_until_ready(WAIT)
            await other.close(WAIT)
            await until_gone(replies.queue, link)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [BrokerUnavailableError] * 6

        released.set()

        await until(lambda: counter.server.counts["dropped:caller_gone"] == 6)
        assert len(counter.callers) == 1
        assert await counter.ask() == Price(price=Decimal(1))


async def test_calls_whose_server_dies_end_at_their_deadline(
    link: Broker, publisher: Publisher, amqp_url: str
) -> None:
    """Not before it, since a reply might come; and soon after. `benchmarks.rpc` has the figure."""
    begun = 0
    all_begun = asyncio.Event()

    async def wait(_: AskPrice, __: Caller) -> Price:
        nonlocal begun
        begun += 1
        if begun == 30:
            all_begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def ask(counter: Counter) -> float:
        end = asyncio.get_running_loop().time() + SHORT
        with pytest.raises(RpcTimeoutError):
            await counter.ask(deadline=SHORT)
        return asyncio.get_running_loop().time() - end

    async with wire_to(amqp_url) as wire:
        server_link = await Broker(wire.url, name="server").start(WAIT)
        async with open_counter(link, publisher, server_link=server_link) as counter:
            counter.answer = wait
            calls = [asyncio.create_task(ask(counter)) for _ in range(30)]
            await asyncio.wait_for(all_begun.wait(), WAIT)
            wire.dead = True
            wire.cut()

            late = await asyncio.gather(*calls)

        assert all(-0.01 < each < 5 for each in late)
        await server_link.close(WAIT)
