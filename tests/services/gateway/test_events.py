"""Live order events over HTTP: a user's own, each once and in order, until the token ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.contracts.topology import GATEWAY, ORDER_SERVICE
from tests.messaging.wire import wire_to
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PATIENCE, Stack, User


@dataclass(frozen=True)
class Event:
    """One event as it came over the wire."""

    type: str
    id: int | None
    data: dict[str, Any]

    @classmethod
    def parse(cls, block: str) -> "Event | None":
        """None for a block of comments and settings alone."""
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if line[:1] not in {":", ""}
        )
        if "event" not in fields:
            return None
        number = fields.get("id")
        return cls(
            fields["event"], None if number is None else int(number), json.loads(fields["data"])
        )


class Events:
    """A client that reads a stream of events."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._text = response.aiter_text()
        self._rest = ""

    async def block(self) -> str:
        """What comes until the next empty line, comments included."""
        async with asyncio.timeout(PATIENCE):
            while "\n\n" not in self._rest:
                self._rest += await anext(self._text)
        block, _, self._rest = self._rest.partition("\n\n")
        return block

    async def next(self) -> Event:
        while (event := Event.parse(await self.block())) is None:
            pass
        return event

    async def take(self, count: int) -> list[Event]:
        return [await self.next() for _ in range(count)]

    async def ended(self) -> str:
        """Why the stream ends; nothing comes after it."""
        event = await self.next()
        assert event.type == "end"
        async with asyncio.timeout(PATIENCE):
            assert [piece async for piece in self._text] == []
        return str(event.data["reason"])


@asynccontextmanager
async def listening(
    user: User, *, after: int | None = None, url: str = "", **changed: Any
) -> AsyncIterator[Events]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    request = {"headers": {**headers, **changed.pop("headers", {})}, **changed}
    async with user.http.stream("GET", f"{url}/v1/orders/events", **request) as response:
        assert response.status_code == 200, await response.aread()
        yield Events(response)


async def cancel(user: User, order_id: str) -> None:
    answer = await user.http.post(f"/v1/orders/{order_id}/cancel")
    assert answer.status_code == 202


def with_life(stack: Stack, user: User, seconds: int) -> dict[str, str]:
    """The user's own session under a token that ends soon."""
    token = stack.issuer.access_token(
        subject=user.sub,
        audience=GATEWAY,
        client_id=user.claims.client_id,
        scopes=user.claims.scopes,
        session=user.claims.sid,
        epoch=user.claims.epoch,
        auth_time=None,
        now=time.time(),
        life=seconds,
    )
    return {"Authorization": f"Bearer {token}"}


async def test_an_order_and_its_cancellation_are_told_as_they_happen(ada: User) -> None:
    async with listening(ada) as events:
        assert events.response.headers["content-type"].startswith("text/event-stream")
        assert events.response.headers["cache-control"] == "no-store"
        order_id = (await ada.place()).json()["id"]
        placed = await events.next()
        await cancel(ada, order_id)
        cancelled = await events.next()

    assert (placed.type, placed.id, placed.data["order_id"]) == ("orders.placed.v1", 1, order_id)
    assert placed.data["total"] == "8.40"
    assert (cancelled.type, cancelled.id) == ("orders.cancelled.v1", 2)
    assert cancelled.data["cancelled_by"] == ada.sub


async def test_a_stream_begins_with_what_happens_from_then_on(ada: User) -> None:
    await ada.order((await ada.place()).json()["id"])

    async with listening(ada) as events:
        second = (await ada.place()).json()["id"]
        event = await events.next()

    assert (event.id, event.data["order_id"]) == (2, second)


@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_resumed_stream_begins_after_what_was_seen(ada: User, by: str) -> None:
    placed = [(await ada.place()).json()["id"] for _ in range(3)]
    for order_id in placed:
        await ada.order(order_id)
    resumed: dict[str, Any] = (
        {"headers": {"Last-Event-ID": "1"}} if by == "header" else {"params": {"last_event_id": 1}}
    )

    async with listening(ada, **resumed) as events:
        replayed = await events.take(2)
        await ada.place()
        live = await events.next()

    assert [event.id for event in [*replayed, live]] == [2, 3, 4]


async def test_what_is_replayed_is_what_was_told_live(ada: User) -> None:
    async with listening(ada) as events:
        await ada.place()
        live = await events.next()
    async with listening(ada, after=0) as events:
        assert await events.next() == live


async def test_a_long_history_is_replayed_whole(ada: User) -> None:
    for _ in range(8):
        answers = await asyncio.gather(*(ada.place() for _ in range(16)))
        assert {answer.status_code for answer in answers} == {202}

    async with listening(ada, after=0) as events:
        seen = await events.take(128)

    assert [event.id for event in seen] == list(range(1, 129))


async def test_an_id_from_the_future_counts_as_the_present(ada: User) -> None:
    await ada.order((await ada.place()).json()["id"])

    async with listening(ada, after=1_000_000) as events:
        while "retry" not in await events.block():
            pass
        await ada.place()

        assert (await events.next()).id == 2


@pytest.mark.parametrize("last", ["", "-1", "one", "1.5", "٣", "9" * 16])
async def test_what_is_no_event_id_is_an_invalid_request(anyone: User, last: str) -> None:
    headers = [(b"Last-Event-ID", last.encode())]

    answer = await anyone.http.get("/v1/orders/events", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["parameter"] == "Last-Event-ID"


async def test_nobody_hears_of_somebody_else(stack: Stack, ada: User) -> None:
    async with stack.user() as bob, listening(bob) as events:
        await ada.order((await ada.place()).json()["id"])
        own = (await bob.place()).json()["id"]

        event = await events.next()

    assert (event.id, event.data["order_id"]) == (1, own)


async def test_all_of_a_users_streams_hear_the_same(ada: User) -> None:
    async with listening(ada) as one, listening(ada) as other:
        await ada.place()

        assert await one.next() == await other.next()


async def test_a_stream_ends_when_the_token_does(stack: Stack, ada: User) -> None:
    async with listening(ada, headers=with_life(stack, ada, 2)) as events:
        assert await events.ended() == "token_expired"


async def test_a_stream_ends_with_its_session(ada: User) -> None:
    async with listening(ada) as events:
        await events.block()
        await ada.http.delete("/v1/sessions/current")

        assert await events.ended() == "session_ended"


async def test_a_silent_stream_shows_that_it_is_alive(own_stack: OpenStack) -> None:
    stack = await own_stack(heartbeat=0.05)
    async with stack.user() as ada, listening(ada) as events:
        while await events.block() != ": alive":
            pass


async def test_a_user_has_a_bounded_number_of_streams(ada: User) -> None:
    async with asyncio.TaskGroup() as streams:
        enough = asyncio.Event()
        opened = asyncio.Semaphore(0)

        async def hold() -> None:
            async with listening(ada) as events:
                await events.block()
                opened.release()
                await enough.wait()

        for _ in range(20):
            streams.create_task(hold())
        for _ in range(20):
            await opened.acquire()
        answer = await ada.http.get("/v1/orders/events")
        enough.set()

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
    assert answer.headers["retry-after"]


async def test_a_stopping_gateway_ends_its_streams_and_then_itself(own_stack: OpenStack) -> None:
    stack = await own_stack()
    async with stack.user() as ada, listening(ada) as events:
        await events.block()
        stopping = asyncio.create_task(stack.stop(GATEWAY))

        assert await events.ended() == "shutdown"
        await stopping


async def test_a_stream_goes_on_at_another_gateway(stack: Stack, ada: User) -> None:
    """Nothing that a client needs to go on is in the gateway that it was at."""
    async with listening(ada) as here:
        await ada.place()
        first = await here.next()
    await ada.order((await ada.place()).json()["id"])

    async with (
        stack.another_gateway(stack.amqp_url(GATEWAY)) as other,
        listening(ada, after=first.id, url=other.url) as there,
    ):
        second = await there.next()
        await ada.place()
        third = await there.next()

    assert [first.id, second.id, third.id] == [1, 2, 3]


async def test_what_is_told_while_the_broker_is_lost_is_told_afterwards(
    stack: Stack, ada: User
) -> None:
    async with (
        wire_to(stack.amqp_url(GATEWAY)) as wire,
        stack.another_gateway(wire.url) as other,
        listening(ada, url=other.url) as events,
    ):
        await ada.place()
        assert (await events.next()).id == 1
        wire.dead = True
        wire.cut()
        for _ in range(3):
            await ada.order((await ada.place()).json()["id"])
        wire.dead = False

        assert [event.id for event in await events.take(3)] == [2, 3, 4]


async def test_a_replay_waits_for_an_order_service_that_is_away(own_stack: OpenStack) -> None:
    stack = await own_stack(rpc_deadline=0.5)
    async with stack.user() as ada:
        await ada.order((await ada.place()).json()["id"])
        await stack.stop(ORDER_SERVICE)

        refused = await ada.http.get("/v1/orders/events")
        async with listening(ada, after=0) as events:
            while await events.block() != ": waiting for the order service":
                pass
            await stack.start(ORDER_SERVICE)
            event = await events.next()

    assert (refused.status_code, refused.json()["code"]) == (503, "upstream_unavailable")
    assert event.id == 1
