"""Journeys: who watches a message of their own is told each check, and nobody else is."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest

from messaging.journeys import JOURNEY, RATE, Mark
from services.contracts.topology import GATEWAY, ORDER_SERVICE, PLACE_ORDER
from services.gateway.journeys import MAX_MARKED, MAX_STREAMS, Marks
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PATIENCE, TEA, Stack, User
from tests.services.gateway.test_events import Event, Events, with_life


class Watch(Events):
    """A stream of journeys that is open, and its name."""

    stream: str

    async def until_silence(self) -> list[Event]:
        """What comes until, for one heartbeat, nothing does."""
        told = []
        while (block := await self.block()).strip() != ": alive":
            event = Event.parse(block)
            if event is not None:
                told.append(event)
        return told


@asynccontextmanager
async def watching(user: User, **headers: str) -> AsyncIterator[Watch]:
    async with user.http.stream("GET", "/v1/journeys", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        watch = Watch(response)
        watch.stream = (await watch.next()).data["stream"]
        yield watch


async def place(user: User, mark: str | None = None) -> str:
    headers = {} if mark is None else {"Carnet-Journey": mark}
    answer = await user.http.post("/v1/orders", json=TEA, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_who_watches_an_order_is_told_each_check_with_its_time(ada: User) -> None:
    async with watching(ada) as watch:
        order_id = await place(ada, f"{watch.stream}.first")
        told = await watch.next()

    assert told.type == "orders.journey.v1"
    journey = told.data
    assert (journey["message"], journey["outcome"], journey["code"]) == ("first", "done", None)
    assert (journey["command"], journey["queue"]) == ("orders.place.v1", "orders.commands")
    assert [check["number"] for check in journey["checks"]] == list(range(1, 14))
    assert {check["verdict"] for check in journey["checks"]} == {"passed"}
    timed = [check["check"] for check in journey["checks"] if check["microseconds"] is not None]
    assert len(timed) == 12
    assert journey["checks"][5]["microseconds"] > 0
    assert journey["published_ms"] <= journey["arrived_ms"] <= journey["settled_ms"]
    assert journey["carnet"]["claims"]["sub"] == ada.sub
    assert journey["seal"]["claims"]["jti"] == order_id


async def test_a_cancellation_is_watched_as_well(ada: User) -> None:
    order_id = await place(ada)
    async with watching(ada) as watch:
        headers = {"Carnet-Journey": f"{watch.stream}.second"}
        answer = await ada.http.post(f"/v1/orders/{order_id}/cancel", headers=headers)
        told = await watch.next()

    assert answer.status_code == 202
    assert (told.data["message"], told.data["command"]) == ("second", "orders.cancel.v1")


async def test_no_token_is_told(ada: User) -> None:
    """What a token says is not the token: without its signature nobody takes it."""
    async with watching(ada) as watch:
        await place(ada, f"{watch.stream}.first")
        told = await watch.next()

    assert "eyJ" not in json.dumps(told.data)
    for token in (told.data["carnet"], told.data["seal"]):
        assert token.keys() == {"header", "claims"}


async def test_a_message_without_a_mark_is_not_reported(ada: User) -> None:
    async with watching(ada) as watch:
        await ada.order(await place(ada))
        await place(ada, f"{watch.stream}.marked")

        assert (await watch.next()).data["message"] == "marked"


async def test_nobody_hears_of_the_message_of_somebody_else(stack: Stack, ada: User) -> None:
    """Who learns the name of a stream can mark with it, and what is reported goes to neither."""
    async with stack.user() as mallory, watching(ada) as watch:
        await mallory.order(await place(mallory, f"{watch.stream}.hers"))
        await place(ada, f"{watch.stream}.own")

        assert (await watch.next()).data["message"] == "own"


async def test_a_stream_that_is_not_here_is_told_nothing_and_the_order_placed(ada: User) -> None:
    order_id = await place(ada, f"{'x' * 22}.first")

    assert (await ada.order(order_id))["state"] == "placed"


@pytest.mark.parametrize("mark", ["x", "x" * 22, f"{'x' * 22}.", f"{'x' * 22}.a b", "é" * 22])
async def test_a_mark_of_another_form_is_refused(ada: User, mark: str) -> None:
    headers = {b"Carnet-Journey": mark.encode()}
    answer = await ada.http.post("/v1/orders", json=TEA, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"


async def test_a_user_has_so_many_streams(ada: User) -> None:
    async with asyncio.TaskGroup() as group:
        opened = [asyncio.Event() for _ in range(MAX_STREAMS)]
        enough = asyncio.Event()

        async def hold(mine: asyncio.Event) -> None:
            async with watching(ada):
                mine.set()
                await enough.wait()

        for each in opened:
            group.create_task(hold(each))
        async with asyncio.timeout(PATIENCE):
            for each in opened:
                await each.wait()
        answer = await ada.http.get("/v1/journeys")
        enough.set()

    assert answer.status_code == 429
    assert answer.json()["code"] == "too_many_streams"


async def test_a_stream_ends_with_its_session(ada: User) -> None:
    async with watching(ada) as watch:
        await ada.http.delete("/v1/sessions/current")

        assert await watch.ended() == "session_ended"


async def test_a_stream_ends_with_its_token(stack: Stack, ada: User) -> None:
    async with watching(ada, **with_life(stack, ada, 1)) as watch:
        assert await watch.ended() == "token_expired"


async def test_orders_that_share_a_transaction_are_each_reported(own_stack: OpenStack) -> None:
    stack = await own_stack()
    async with stack.user() as ada, watching(ada) as watch:
        await stack.stop(ORDER_SERVICE)
        for number in range(10):
            await place(ada, f"{watch.stream}.{number}")
        await stack.start(ORDER_SERVICE)

        told = [event.data for event in await watch.take(10)]

    assert {journey["message"] for journey in told} == {str(number) for number in range(10)}
    assert {journey["outcome"] for journey in told} == {"done"}
    assert min(journey["arrived_ms"] - journey["published_ms"] for journey in told) > 0


async def test_one_user_marks_no_more_than_leaves_reports_for_others() -> None:
    marks, other = Marks(), "B" * 22
    asked = [f"{'A' * 22}.{number}" for number in range(3 * MAX_MARKED)]

    marked = [marks.of(each, subject="ada", now=7.0) for each in asked]

    assert sum(mark is not None for mark in marked) == MAX_MARKED < RATE
    assert marks.of(f"{other}.0", subject="grace", now=7.9) is not None
    assert marks.of(asked[0], subject="ada", now=8.0) is not None


async def test_a_flood_of_marked_forgeries_is_reported_within_bounds(own_stack: OpenStack) -> None:
    """A mark is under no seal: whoever writes to the broker can put it on anything."""
    stack = await own_stack(heartbeat=1)
    many = 10 * RATE
    async with (
        stack.user() as ada,
        watching(ada) as watch,
        await aio_pika.connect(stack.amqp_url(GATEWAY)) as connection,
    ):
        channel = await connection.channel()
        exchange = await channel.get_exchange(PLACE_ORDER.exchange, ensure=False)
        for number in range(many):
            mark = Mark(watch.stream, str(number), 0)
            await exchange.publish(
                aio_pika.Message(
                    b"{}",
                    message_id=str(uuid.uuid4()),
                    type=PLACE_ORDER.type,
                    headers={JOURNEY: str(mark), "authorization": "Bearer x", "carnet-seal": "x"},
                ),
                PLACE_ORDER.routing_key,
            )
        order = await ada.order(await place(ada))
        told = await watch.until_silence()

    assert order["state"] == "placed"
    assert 0 < len(told) < many
    assert {event.data["outcome"] for event in told} == {"refused"}
    assert {event.data["carnet"] for event in told} == {None}
