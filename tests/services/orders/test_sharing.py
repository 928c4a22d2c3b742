"""Placing and cancelling in one transaction: the same as each in its own."""

import asyncio
import time
import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Final

import pytest

from auth.errors import RefusalError
from auth.principal import Principal
from services.contracts.orders import CancelOrder, OrderLine, PlaceOrder
from services.orders.history import History
from services.orders.order import Order
from services.orders.store import OrderStore
from tests.services.orders.shop import Shop, User

TEA: Final = PlaceOrder(
    lines=(OrderLine(sku="tea", quantity=2, unit_price=Decimal("4.20")),), currency="EUR"
)
PLACED: Final = "orders.placed.v1"
CANCELLED: Final = "orders.cancelled.v1"


async def test_orders_and_their_cancels_at_once_are_each_told_in_their_order(shop: Shop) -> None:
    """Whichever share a transaction: no number is missing, and no cancel comes too early."""
    users = [User.new() for _ in range(3)]
    ids = [str(uuid.uuid4()) for _ in range(30)]
    commands = []
    for number, order_id in enumerate(ids):
        carnet = shop.carnet(users[number % 3])
        commands.append(shop.sealed(TEA, carnet, message_id=order_id))
        commands.append(shop.sealed(CancelOrder(order_id=order_id), carnet))
        commands.append(commands[-2])  # a copy of the placing behind its cancel

    await asyncio.gather(*map(shop.publish, commands))

    told = [await shop.next_event() for _ in range(60)]
    assert sorted(str(event.type) for event in told) == [CANCELLED] * 30 + [PLACED] * 30
    orders = [await shop.order(order_id) for order_id in ids]
    assert [order.state for order in orders if order] == ["cancelled"] * 30
    for user in users:
        async with shop.database.session() as session:
            history = await History(session).after(user.subject, 0, limit=100)
        assert [event.sequence for event in history] == list(range(1, 21))
    rows = await shop.rows()
    assert (rows["inbox"], rows["retries"], rows["order_events"]) == (60, 0, 60)


async def test_two_orders_of_one_id_that_are_written_at_once_are_not_one(shop: Shop) -> None:
    """As of two clients that gave their messages the same id: then each is done by itself."""
    caller = Principal(
        subject=User.new().subject,
        scopes=frozenset(),
        actors=(),
        session=None,
        epoch=0,
        token_id="t",
        expires_at=0,
    )
    order = Order.placed(str(uuid.uuid4()), TEA, caller, at=int(time.time() * 1000))
    another = replace(order, subject=User.new().subject)

    with pytest.raises(RefusalError, match="another order's"):
        async with shop.database.transaction() as session:
            await OrderStore(session).add([order, another])

    assert (await shop.rows())["orders"] == 0
