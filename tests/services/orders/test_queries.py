"""What may be read: one's own; everybody's with the scope."""

import uuid

import pytest

from messaging.rpc import RpcRefusedError
from services.contracts.orders import GetOrder, ListOrderEvents, ListOrders
from services.contracts.scopes import ORDERS_READ, ORDERS_READ_ALL, ORDERS_WRITE
from services.contracts.topology import ORDER_SERVICE
from tests.services.orders.shop import DEADLINE, Shop, User
from tests.services.orders.test_commands import TEA, place

OPERATOR = frozenset({ORDERS_READ, ORDERS_READ_ALL})


async def list_orders(shop: Shop, request: ListOrders, carnet: str) -> tuple[list[str], str | None]:
    page = await shop.rpc.call(request, responder=ORDER_SERVICE, deadline=DEADLINE, carnet=carnet)
    return [order.id for order in page.orders], page.next


async def test_a_user_lists_their_own_orders_page_by_page(shop: Shop) -> None:
    user, other = User.new(), User.new()
    placed = [await place(shop, user) for _ in range(5)]
    await place(shop, other)
    carnet = shop.carnet(user)

    first, cursor = await list_orders(shop, ListOrders(limit=3), carnet)
    rest, end = await list_orders(shop, ListOrders(limit=3, cursor=cursor), carnet)

    assert sorted(first + rest) == sorted(placed)
    assert (len(first), end) == (3, None)


async def test_everybodys_orders_need_the_scope(shop: Shop) -> None:
    await place(shop, User.new())
    everyone = ListOrders(everyone=True)

    seen, _ = await list_orders(shop, everyone, shop.carnet(User.new(), scopes=OPERATOR))
    with pytest.raises(RpcRefusedError) as refusal:
        await list_orders(shop, everyone, shop.carnet(User.new()))

    assert len(seen) == 1
    assert refusal.value.code == "insufficient_scope"


async def test_a_cursor_that_we_did_not_give_is_refused(shop: Shop) -> None:
    with pytest.raises(RpcRefusedError) as refusal:
        await list_orders(shop, ListOrders(cursor="bm9uc2Vuc2U="), shop.carnet(User.new()))

    assert refusal.value.code == "invalid_cursor"


async def test_the_order_of_another_is_not_found(shop: Shop) -> None:
    owner = User.new()
    order = GetOrder(order_id=await place(shop, owner))

    mine = await shop.rpc.call(
        order, responder=ORDER_SERVICE, deadline=DEADLINE, carnet=shop.carnet(owner)
    )
    with pytest.raises(RpcRefusedError) as refusal:
        await shop.rpc.call(
            order, responder=ORDER_SERVICE, deadline=DEADLINE, carnet=shop.carnet(User.new())
        )

    assert mine.placed_by == owner.subject
    assert refusal.value.code == "not_found"


async def test_a_query_without_the_scope_to_read_is_refused(shop: Shop) -> None:
    carnet = shop.carnet(User.new(), scopes=frozenset({ORDERS_WRITE}))

    with pytest.raises(RpcRefusedError) as refusal:
        await list_orders(shop, ListOrders(), carnet)

    assert refusal.value.code == "insufficient_scope"


async def test_an_order_that_was_refused_unread_is_shown_as_refused(shop: Shop) -> None:
    """Its user was told 202, so they are not told 404."""
    user, order_id = User.new(), str(uuid.uuid4())
    carnet = shop.carnet(user, scopes=frozenset({ORDERS_READ}))
    await shop.publish(shop.sealed(TEA, carnet, message_id=order_id))
    await shop.next_event()

    order = await shop.rpc.call(
        GetOrder(order_id=order_id), responder=ORDER_SERVICE, deadline=DEADLINE, carnet=carnet
    )

    assert (order.state, order.refusal) == ("refused", "insufficient_scope")


async def test_events_are_numbered_per_user_without_a_gap(shop: Shop) -> None:
    user, other = User.new(), User.new()
    for who in (user, other, user, user):
        await place(shop, who)
    carnet = shop.carnet(user)

    page = await shop.rpc.call(
        ListOrderEvents(after=1), responder=ORDER_SERVICE, deadline=DEADLINE, carnet=carnet
    )

    assert [event.sequence for event in page.events] == [2, 3]
    assert page.latest == 3
