"""Looking at dead letters takes none, loses none and leaves them in their order."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from messaging import deadletters
from messaging.broker import Broker
from messaging.deadletters import Reading
from messaging.errors import BrokerUnavailableError
from messaging.letters import Letter
from messaging.publisher import Publisher
from messaging.topology import declare
from tests.brokers import RunningBroker
from tests.messaging.market import GATEWAY, TOPOLOGY, WORK, sell
from tests.messaging.raw import WAIT, Raw, raw_channel
from tests.messaging.wire import Wire, wire_to

COUNT = 1000
SIZE = 300


@pytest_asyncio.fixture
async def box(conformance_amqp_url: str) -> AsyncIterator[Broker]:
    """A broker of each kind, whose dead letter queue a test may fill."""
    broker = await Broker(conformance_amqp_url, name="operator").start(WAIT)
    await declare(broker, TOPOLOGY, deadline=WAIT)
    yield broker
    await broker.close(WAIT)


async def _fill(url: str, count: int) -> None:
    async with raw_channel(url) as raw:
        for first in range(0, count, 500):
            await asyncio.gather(
                *(
                    raw.publish("carnet.dead", WORK.dead, b"%d" % number)
                    for number in range(first, min(first + 500, count))
                )
            )


async def _look(broker: Broker, *, size: int = SIZE) -> list[int]:
    async with Reading(broker.consuming, WORK.dead, window=size) as reading:
        return [int(held.letter.body) async for held in reading.letters()]


async def _until_back(raw: Raw, count: int) -> None:
    await raw.until_count(WORK.dead, count)


async def test_thousands_of_letters_are_seen_in_their_order_however_often(
    box: Broker, conformance_amqp_url: str
) -> None:
    await _fill(conformance_amqp_url, COUNT)

    async with raw_channel(conformance_amqp_url) as raw:
        for _ in range(2):
            await _until_back(raw, COUNT)
            assert await _look(box) == list(range(COUNT))
        await _until_back(raw, COUNT)
        # And so for whoever takes them.
        assert [int((await raw.next(WORK.dead)).body) for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_where_the_broker_is_slow_to_take_them_back_they_are_not_held_for_ever(
    conformance_amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes on, as a console's does."""
    async with wire_to(conformance_amqp_url) as wire, raw_channel(conformance_amqp_url) as raw:
        slow = await Broker(wire.url, name="operator").start(WAIT)
        await declare(slow, TOPOLOGY, deadline=WAIT)
        await _fill(conformance_amqp_url, 20)

        async with Reading(slow.consuming, WORK.dead, window=5) as reading:
            assert len([held async for held in reading.letters()]) == 20
            wire.hold()
            monkeypatch.setattr(deadletters, "STEP", 0.2)
        wire.release()

        await _until_back(raw, 20)
        assert slow.connected
        await slow.close(WAIT)


async def test_what_is_removed_is_gone_and_the_rest_is_as_it_was(
    box: Broker, conformance_amqp_url: str
) -> None:
    await _fill(conformance_amqp_url, COUNT)

    async with Reading(box.consuming, WORK.dead, window=SIZE) as reading:
        async for held in reading.letters():
            if int(held.letter.body) % 3:
                await held.remove()

    left = list(range(0, COUNT, 3))
    async with raw_channel(conformance_amqp_url) as raw:
        await _until_back(raw, len(left))
    assert await _look(box) == left


async def test_a_look_that_is_broken_off_leaves_everything(
    box: Broker, conformance_amqp_url: str
) -> None:
    await _fill(conformance_amqp_url, 100)

    async def break_off() -> None:
        async with Reading(box.consuming, WORK.dead, window=30) as reading:
            async for held in reading.letters():
                if held.letter.body == b"70":
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()

    async with raw_channel(conformance_amqp_url) as raw:
        await _until_back(raw, 100)
    assert await _look(box) == list(range(100))


async def test_a_connection_that_breaks_leaves_everything(
    link: Broker, wire: Wire, amqp_url: str
) -> None:
    await _fill(amqp_url, 100)

    async def cut_off() -> None:
        async with Reading(link.consuming, WORK.dead, window=30) as reading:
            async for held in reading.letters():
                if held.letter.body == b"45":
                    wire.cut()
                if int(held.letter.body) >= 45:
                    await held.remove()

    with pytest.raises(BrokerUnavailableError):
        await cut_off()

    async with raw_channel(amqp_url) as raw:
        await _until_back(raw, 100)
    assert sorted(await _look(link)) == list(range(100))


async def test_what_comes_while_one_looks_is_left_for_the_next_look(
    link: Broker, amqp_url: str, raw: Raw
) -> None:
    await _fill(amqp_url, 10)
    async with Reading(link.consuming, WORK.dead) as reading:
        await raw.publish("carnet.dead", WORK.dead, b"10")
        seen = [int(held.letter.body) async for held in reading.letters()]

    assert seen == list(range(10))
    await _until_back(raw, 11)
    assert sorted(await _look(link)) == list(range(11))


async def test_an_empty_queue_is_looked_at_at_once(link: Broker) -> None:
    assert await _look(link) == []


async def test_a_queue_that_is_slow_to_answer_is_not_taken_for_an_empty_one(
    box: Broker,
    conformance_broker: RunningBroker,
    conformance_vhost: str,
    conformance_amqp_url: str,
) -> None:
    """After 250 ms RabbitMQ says that nothing lies there."""
    await _fill(conformance_amqp_url, 5)
    name = f'rabbit_misc:r(<<"{conformance_vhost}">>, queue, <<"{WORK.dead}">>)'
    found = f"{{ok, Q}} = rabbit_amqqueue:lookup({name})"
    await conformance_broker.control("eval", f"{found}, sys:suspend(amqqueue:get_pid(Q)).")
    try:
        looking = asyncio.create_task(_look(box))
        async with raw_channel(conformance_amqp_url) as raw:
            assert await raw.count(WORK.dead) == 0
    finally:
        await conformance_broker.control("eval", f"{found}, sys:resume(amqqueue:get_pid(Q)).")

    assert await looking == list(range(5))


async def _letter_of(link: Broker, raw: Raw, **headers: object) -> Letter:
    envelope = sell("tea").envelope
    await raw.publish(
        "carnet.dead",
        WORK.dead,
        envelope.body,
        headers={**envelope.headers, **headers},
        type=envelope.route.type,
        content_type=envelope.content_type,
    )
    async with Reading(link.consuming, WORK.dead) as reading:
        async for held in reading.letters():
            await held.remove()
            return held.letter
    raise AssertionError("there is none")


async def test_a_letter_tells_what_its_notes_and_tokens_say(link: Broker, raw: Raw) -> None:
    letter = await _letter_of(
        link,
        raw,
        **{"carnet-reason": "too_old", "carnet-failed-at": "2026-01-02T03:04:05Z"},
    )

    assert letter.reason == "too_old"
    assert letter.failed_at == 1767323045
    assert letter.client == GATEWAY
    assert letter.message_id is not None
    assert letter.bound


async def test_a_letter_may_hold_anything(link: Broker, raw: Raw) -> None:
    await raw.publish(
        "carnet.dead",
        WORK.dead,
        b"\xff",
        headers={"authorization": 7, "carnet-seal": "x", "carnet-failed-at": "now", "x-death": 1},
    )
    async with Reading(link.consuming, WORK.dead) as reading:
        (letter,) = [held.letter async for held in reading.letters()]

    assert letter.reason == "unknown"
    assert letter.failed_at is None
    assert (letter.message_id, letter.client, letter.subject) == (None, None, None)
    assert not letter.bound


async def test_a_letter_is_released_as_it_was_sent(link: Broker, raw: Raw) -> None:
    """With none of the notes on it, and nothing that the broker has added."""
    letter = await _letter_of(
        link,
        raw,
        **{
            "carnet-reason": "too_old",
            "carnet-release": "an old one",
            "carnet-else": "kept",
            "traceparent": "00-1-2-01",
            "x-death": [{"reason": "expired"}],
            "else": "not kept",
        },
    )

    envelope = letter.released(WORK, "a new one")

    assert envelope.headers == {
        "authorization": letter.headers["authorization"],
        "carnet-seal": letter.headers["carnet-seal"],
        "carnet-else": "kept",
        "traceparent": "00-1-2-01",
        "carnet-release": "a new one",
    }
    assert (envelope.body, envelope.content_type) == (letter.body, "application/json")
    assert envelope.route.type == letter.type
    await Publisher(link, client_id="operator").publish(envelope, deadline=WAIT)
    assert (await raw.next(WORK.name)).body == letter.body


async def test_copies_of_a_letter_are_known_by_what_was_sent(link: Broker, raw: Raw) -> None:
    first = await _letter_of(link, raw, **{"carnet-reason": "expired"})
    await raw.publish(
        "carnet.dead",
        WORK.dead,
        first.body,
        headers={**first.headers, "carnet-reason": "not_owner"},
        type=first.type,
    )
    async with Reading(link.consuming, WORK.dead) as reading:
        async for held in reading.letters():
            again = held.letter
            await held.remove()

    assert again.digest == first.digest
    assert again.reason != first.reason
    assert (await _letter_of(link, raw)).digest != first.digest
