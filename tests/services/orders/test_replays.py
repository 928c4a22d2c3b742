"""What comes again after the inbox has forgotten it: the orders themselves remember."""

import json
import time
import uuid
from decimal import Decimal
from typing import Final

from sqlalchemy import delete

from messaging.envelope import Envelope
from services.contracts.orders import CancelOrder, OrderLine, PlaceOrder
from services.contracts.scopes import ORDERS_READ
from services.orders.tables import MESSAGING
from tests.services.orders.shop import Shop, User

TEA: Final = PlaceOrder(
    lines=(OrderLine(sku="tea", quantity=2, unit_price=Decimal("4.20")),), currency="EUR"
)
HOUR: Final = 3600


async def prune(shop: Shop) -> None:
    """Everything, however young."""
    async with shop.database.transaction() as session:
        await session.execute(delete(MESSAGING.inbox))


async def told(shop: Shop, envelope: Envelope) -> str:
    """Publish, and wait for what is told of it."""
    await shop.publish(envelope)
    return str((await shop.next_event()).type)


async def test_a_pruned_order_is_not_placed_again(shop: Shop) -> None:
    user, marker = User.new(), User.new()
    placed = shop.sealed(TEA, shop.carnet(user))
    assert await told(shop, placed) == "orders.placed.v1"
    await prune(shop)

    await shop.publish(placed)

    event = shop.sealed(TEA, shop.carnet(marker))
    assert await told(shop, event) == "orders.placed.v1"
    rows = await shop.rows()
    assert (rows["orders"], rows["order_events"], rows["retries"]) == (2, 2, 0)


async def test_a_pruned_cancel_is_not_told_again(shop: Shop) -> None:
    user, marker, order_id = User.new(), User.new(), str(uuid.uuid4())
    await told(shop, shop.sealed(TEA, shop.carnet(user), message_id=order_id))
    cancel = shop.sealed(CancelOrder(order_id=order_id), shop.carnet(user))
    assert await told(shop, cancel) == "orders.cancelled.v1"
    await prune(shop)

    await shop.publish(cancel)

    assert await told(shop, shop.sealed(TEA, shop.carnet(marker))) == "orders.placed.v1"
    rows = await shop.rows()
    assert (rows["orders"], rows["order_events"], rows["retries"]) == (2, 3, 0)


async def test_a_pruned_refusal_is_kept_dead_again_and_told_once(shop: Shop) -> None:
    user = User.new()
    unreadable = shop.sealed(TEA, shop.carnet(user), body=b'{"lines":[]}')
    assert await told(shop, unreadable) == "orders.refused.v1"
    assert (await shop.next_dead_letter()).headers["carnet-reason"] == "invalid_body"
    await prune(shop)

    await shop.publish(unreadable)

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == "invalid_body"
    assert (await shop.rows())["order_events"] == 1


async def test_an_order_that_comes_again_when_it_is_too_old_is_not_told_refused(
    shop: Shop,
) -> None:
    """Whoever was told that the order is placed is not told a day later that it is refused."""
    user, order_id = User.new(), str(uuid.uuid4())
    await told(shop, shop.sealed(TEA, shop.carnet(user), message_id=order_id))
    await prune(shop)
    yesterday = time.time() - 25 * HOUR
    late = shop.sealed(
        TEA,
        shop.carnet(user, issued_at=yesterday),
        message_id=order_id,
        accepted_at=yesterday,
    )

    await shop.publish(late)

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == "too_old"
    assert (await shop.rows())["order_events"] == 1
    order = await shop.order(order_id)
    assert order is not None
    assert order.state == "placed"


async def test_a_pruned_id_is_not_given_to_another_order(shop: Shop) -> None:
    user, order_id = User.new(), str(uuid.uuid4())
    await told(shop, shop.sealed(TEA, shop.carnet(user), message_id=order_id))
    await prune(shop)
    other = TEA.model_copy(update={"currency": "USD"})

    await shop.publish(shop.sealed(other, shop.carnet(user), message_id=order_id))

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == "id_reused"
    order = await shop.order(order_id)
    assert order is not None
    assert order.currency == "EUR"
    assert (await shop.rows())["order_events"] == 1


async def test_a_pruned_id_is_not_given_to_the_cancel_of_another_order(shop: Shop) -> None:
    user, cancel_id = User.new(), str(uuid.uuid4())
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    for order_id in (first, second):
        await told(shop, shop.sealed(TEA, shop.carnet(user), message_id=order_id))
    cancel = shop.sealed(CancelOrder(order_id=first), shop.carnet(user), message_id=cancel_id)
    assert await told(shop, cancel) == "orders.cancelled.v1"
    await prune(shop)

    await shop.publish(
        shop.sealed(CancelOrder(order_id=second), shop.carnet(user), message_id=cancel_id)
    )

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == "id_reused"
    order = await shop.order(second)
    assert order is not None
    assert order.state == "placed"


async def test_a_refused_cancel_names_its_own_code_once(shop: Shop) -> None:
    """A second cancel is another message: it is told, and only once."""
    user, order_id = User.new(), str(uuid.uuid4())
    await told(shop, shop.sealed(TEA, shop.carnet(user), message_id=order_id))
    await told(shop, shop.sealed(CancelOrder(order_id=order_id), shop.carnet(user)))
    again = shop.sealed(CancelOrder(order_id=order_id), shop.carnet(user))
    await shop.publish(again)
    event = await shop.next_event()
    assert json.loads(event.body)["code"] == "not_cancellable"
    await prune(shop)

    await shop.publish(again)

    assert await told(shop, shop.sealed(TEA, shop.carnet(user))) == "orders.placed.v1"
    assert (await shop.rows())["order_events"] == 4


async def test_what_was_told_refused_can_be_told_done_later(shop: Shop) -> None:
    """As after an operator's release: the inbox row no longer says refused."""
    user, order_id = User.new(), str(uuid.uuid4())
    read_only = shop.carnet(user, scopes=frozenset({ORDERS_READ}))
    assert await told(shop, shop.sealed(TEA, read_only, message_id=order_id)) == "orders.refused.v1"
    await prune(shop)

    again = shop.sealed(TEA, shop.carnet(user), message_id=order_id)

    assert await told(shop, again) == "orders.placed.v1"
    assert (await shop.rows())["order_events"] == 2
