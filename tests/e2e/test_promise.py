"""A 202 is a promise: under load, and while nobody is there to keep it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from services.demo.client import Account, ShopClient, StreamedEvent, next_event
from services.local.stack import LocalStack
from tests.e2e.conftest import SignUp

USERS: Final = 20
ORDERS: Final = 1000
BASKET: Final[list[dict[str, Any]]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]


async def place_many(shop: ShopClient, users: list[Account], count: int) -> list[str]:
    """Place `count` orders, all users at once, each one after the other."""

    async def place(user: Account) -> list[str]:
        return [await shop.place(user, BASKET) for _ in range(count // len(users))]

    placed = await asyncio.gather(*(place(user) for user in users))
    return [order_id for orders in placed for order_id in orders]


async def told_placed(events: "asyncio.Queue[StreamedEvent]", count: int) -> None:
    """Wait until so many events have come."""
    async with asyncio.timeout(120):
        for _ in range(count):
            event = await events.get()
            assert event.type == "orders.placed.v1"


async def stored_of(shop: ShopClient, users: list[Account]) -> list[str]:
    """The ids of all placed orders of these users."""
    stored = await asyncio.gather(*(shop.orders(user) for user in users))
    return [order["id"] for orders in stored for order in orders if order["state"] == "placed"]


async def follow(
    shop: ShopClient, user: Account, events: "asyncio.Queue[StreamedEvent]", ready: asyncio.Event
) -> None:
    async with shop.events(user) as stream:
        ready.set()
        async for event in stream:
            events.put_nowait(event)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("interrupted", [False, True], ids=["steady", "consumer away"])
async def test_a_thousand_orders_of_twenty_users_are_each_stored_once(
    stack: LocalStack,
    shop: ShopClient,
    sign_up: SignUp,
    count_dead: Callable[[], Awaitable[int]],
    *,
    interrupted: bool,
) -> None:
    """Also when the order service is stopped while the second half is accepted."""
    dead_before = await count_dead()
    users = await asyncio.gather(*(sign_up("user") for _ in range(USERS)))
    events: asyncio.Queue[StreamedEvent] = asyncio.Queue()
    ready = [asyncio.Event() for _ in users]
    followers = [
        asyncio.create_task(follow(shop, user, events, event))
        for user, event in zip(users, ready, strict=True)
    ]
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(*(event.wait() for event in ready))
        accepted = await place_many(shop, users, ORDERS // 2)
        if interrupted:
            await stack.stop_service("orders")
        accepted += await place_many(shop, users, ORDERS // 2)
        if interrupted:
            await stack.start_service("orders")
        await told_placed(events, ORDERS)
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)

    assert len(set(accepted)) == ORDERS
    assert sorted(await stored_of(shop, users)) == sorted(accepted)
    assert await count_dead() == dead_before


async def test_the_same_idempotency_key_places_one_order(shop: ShopClient, sign_up: SignUp) -> None:
    user = await sign_up("ada")
    async with shop.events(user) as events:
        first = await shop.place(user, BASKET, key="breakfast")
        again = await shop.place(user, BASKET, key="breakfast")
        other = await shop.place(user, BASKET, key="lunch")
        told = [await next_event(events, within=20) for _ in range(2)]

    assert first == again != other
    assert [event.id for event in told] == ["1", "2"]
    assert {order["id"] for order in await shop.orders(user)} == {first, other}


async def test_a_cancel_reaches_the_order_and_its_user(shop: ShopClient, sign_up: SignUp) -> None:
    user = await sign_up("ada")
    async with shop.events(user) as events:
        order_id = await shop.place(user, BASKET)
        await shop.cancel(user, order_id)
        types = [(await next_event(events, within=30)).type for _ in range(2)]

    assert types == ["orders.placed.v1", "orders.cancelled.v1"]
    order = await shop.order(user, order_id)
    assert order is not None
    assert order["state"] == "cancelled"


async def test_nobody_sees_or_cancels_the_order_of_another(
    shop: ShopClient, sign_up: SignUp
) -> None:
    ada, mallory = await sign_up("ada"), await sign_up("mallory")
    async with shop.events(ada) as hers, shop.events(mallory) as his:
        order_id = await shop.place(ada, BASKET)
        await next_event(hers, within=20)
        await shop.cancel(mallory, order_id)
        refusal = await next_event(his, within=20)

    assert (refusal.type, '"code":"not_owner"' in refusal.data) == ("orders.refused.v1", True)
    assert await shop.order(mallory, order_id) is None
    assert await shop.orders(mallory) == []
    order = await shop.order(ada, order_id)
    assert order is not None
    assert order["state"] == "placed"


async def test_missed_events_are_sent_again_from_the_last_one_seen(
    shop: ShopClient, sign_up: SignUp
) -> None:
    user = await sign_up("ada")
    async with shop.events(user) as events:
        placed = [await shop.place(user, BASKET) for _ in range(3)]
        seen = [await next_event(events, within=20) for _ in placed]

    async with shop.events(user, last_event_id="1") as resumed:
        again = [await next_event(resumed, within=20) for _ in range(2)]

    assert again == seen[1:]
