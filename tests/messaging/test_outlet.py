"""One channel to publish on: each message has its own confirm, whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from aio_pika.exceptions import ChannelNotFoundEntity

from auth.message import Route
from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.outlet import Outlet, RefusedError, ReturnedError
from tests.messaging.market import GATEWAY, WORK, sell
from tests.messaging.raw import WAIT, Raw, until
from tests.messaging.wire import Wire


@pytest_asyncio.fixture
async def outlet(link: Broker) -> AsyncIterator[Outlet]:
    outlet = await link.publishing.outlet(WAIT)
    yield outlet
    if not outlet.closed:
        await outlet.close()


def begin(outlet: Outlet, envelope: Envelope | None = None) -> asyncio.Future[None]:
    envelope = sell().envelope if envelope is None else envelope
    return outlet.send(envelope, client_id=GATEWAY, now=0)


def to(envelope: Envelope, **route: Any) -> Envelope:
    changed = {**{name: getattr(envelope.route, name) for name in Route.__slots__}, **route}
    return replace(envelope, route=Route(**changed))


async def outcomes(*attempts: asyncio.Future[None]) -> list[type[object]]:
    async with asyncio.timeout(WAIT):
        return [type(each) for each in await asyncio.gather(*attempts, return_exceptions=True)]


async def test_the_confirm_of_who_waits_no_more_is_nobody_else_s(
    outlet: Outlet, wire: Wire, raw: Raw
) -> None:
    wire.hold_answers()
    attempts = [begin(outlet) for _ in range(5)]
    await until(lambda: outlet.owed == 5)
    for cancelled in (attempts[0], attempts[3]):
        cancelled.cancel()
    await asyncio.wait({attempts[0], attempts[3]})
    assert outlet.owed == 5

    wire.release()

    results = await outcomes(*attempts)
    assert results.count(asyncio.CancelledError) == 2
    assert results.count(type(None)) == 3
    await until(lambda: outlet.owed == 0)
    await raw.until_count(WORK.name, 5)


async def test_what_is_returned_has_failed_and_nothing_beside_it(outlet: Outlet, raw: Raw) -> None:
    lost = to(sell().envelope, routing_key="nobody.listens")

    attempts = [begin(outlet, lost if number % 3 == 0 else None) for number in range(9)]

    kinds = [ReturnedError, type(None), type(None)] * 3
    assert await outcomes(*attempts) == kinds
    assert outlet.owed == 0
    assert not outlet.closed
    await raw.until_count(WORK.name, 6)


async def test_one_nack_may_refuse_several(outlet: Outlet, wire: Wire) -> None:
    """What the broker says afterwards of those that it has refused is nobody's."""
    wire.hold_answers()
    attempts = [begin(outlet) for _ in range(4)]
    await until(lambda: outlet.owed == 4)

    outlet.refused(1, multiple=False)
    outlet.refused(3, multiple=True)
    assert outlet.owed == 1
    wire.release()

    assert await outcomes(*attempts) == [RefusedError] * 3 + [type(None)]


async def test_one_confirm_may_be_for_all_up_to_it(outlet: Outlet, wire: Wire) -> None:
    wire.hold_answers()
    attempts = [begin(outlet) for _ in range(4)]
    await until(lambda: outlet.owed == 4)

    outlet.confirmed(3, multiple=True)

    assert await outcomes(*attempts[:3]) == [type(None)] * 3
    assert not attempts[3].done()
    wire.release()
    assert await outcomes(attempts[3]) == [type(None)]


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 400_000])
async def test_a_body_of_any_size_arrives_whole(outlet: Outlet, raw: Raw, size: int) -> None:
    body = bytes(number % 251 for number in range(size))

    async with asyncio.timeout(WAIT):
        await begin(outlet, replace(sell().envelope, body=body))

    assert (await raw.next(WORK.name)).body == body


async def test_properties_and_headers_arrive_as_they_were_given(outlet: Outlet, raw: Raw) -> None:
    envelope = replace(sell().envelope, correlation_id="c", reply_to="r", expiration=60.0)

    async with asyncio.timeout(WAIT):
        await outlet.send(envelope, client_id=GATEWAY, now=1_700_000_000.9)

    message = await raw.next(WORK.name)
    assert dict(message.headers) == dict(envelope.headers)
    assert (message.correlation_id, message.reply_to, message.app_id) == ("c", "r", GATEWAY)
    assert (message.type, message.content_type) == (envelope.route.type, envelope.content_type)
    assert message.timestamp is not None
    assert message.timestamp.timestamp() == 1_700_000_000
    assert message.expiration == 60.0


async def test_a_closed_channel_tells_all_who_wait_and_takes_nothing_more(
    outlet: Outlet, link: Broker
) -> None:
    """The connection stays, and what is published meanwhile closes it neither."""
    lost = link.publishing.lost
    nowhere = to(sell().envelope, exchange="carnet.no-such-exchange")

    attempts = [begin(outlet, nowhere)]
    async with asyncio.timeout(WAIT):
        while not attempts[0].done():
            attempts.append(begin(outlet))
            await asyncio.sleep(0)

    results = await outcomes(*attempts)
    assert results[0] is ChannelNotFoundEntity
    assert outlet.closed
    assert outlet.owed == 0
    with pytest.raises(ConnectionError):
        await begin(outlet)
    following = await link.publishing.outlet(WAIT)
    assert await outcomes(*(begin(following) for _ in range(20))) == [type(None)] * 20
    assert not lost.is_set()
    await following.close()


async def test_a_lost_connection_tells_all_who_wait(outlet: Outlet, wire: Wire) -> None:
    wire.hold_answers()
    attempts = [begin(outlet) for _ in range(3)]
    await until(lambda: outlet.owed == 3)

    wire.cut()

    assert type(None) not in await outcomes(*attempts)
    assert outlet.closed
    assert outlet.owed == 0
