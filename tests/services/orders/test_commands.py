"""What becomes of commands: placed once, cancelled by their owner, refused and told."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Final

import pytest

from auth.keys import SigningKey
from auth.message import AUTHORIZATION, CARNET_SEAL
from auth.seal import Sealer
from messaging.envelope import Envelope
from services.contracts.orders import CancelOrder, OrderLine, PlaceOrder
from services.contracts.scopes import ORDERS_READ, ORDERS_WRITE, ORDERS_WRITE_ALL
from services.contracts.topology import GATEWAY
from services.orders.history import History
from tests.services.orders.shop import Shop, User

TEA: Final = PlaceOrder(
    lines=(
        OrderLine(sku="tea", quantity=2, unit_price=Decimal("4.20")),
        OrderLine(sku="cup", quantity=1, unit_price=Decimal("9.99")),
    ),
    currency="EUR",
)
HOUR: Final = 3600


async def place(shop: Shop, user: User) -> str:
    """Place an order and wait until it is told; its id."""
    order_id = str(uuid.uuid4())
    await shop.publish(shop.sealed(TEA, shop.carnet(user), message_id=order_id))
    event = await shop.next_event()
    assert event.type == "orders.placed.v1"
    return order_id


async def test_an_order_is_stored_with_its_lines_its_total_and_who_placed_it(shop: Shop) -> None:
    user = User.new()

    order_id = await place(shop, user)

    order = await shop.order(order_id)
    assert order is not None
    assert (order.subject, order.actors) == (user.subject, (GATEWAY,))
    assert (order.state, order.total, order.currency) == ("placed", Decimal("18.39"), "EUR")
    assert order.lines == TEA.lines


async def test_a_replay_has_no_second_effect(shop: Shop) -> None:
    user = User.new()
    genuine = shop.sealed(TEA, shop.carnet(user))

    await shop.publish(genuine)
    await shop.publish(genuine)
    await place(shop, user)
    told = await shop.next_event()

    assert told.type == "orders.placed.v1"
    rows = await shop.rows()
    assert (rows["orders"], rows["inbox"], rows["order_events"]) == (2, 2, 2)


async def test_an_id_that_is_given_to_another_body_is_refused(shop: Shop) -> None:
    user = User.new()
    order_id = await place(shop, user)
    other = TEA.model_copy(update={"currency": "USD"})

    await shop.publish(shop.sealed(other, shop.carnet(user), message_id=order_id))

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == "id_reused"
    order = await shop.order(order_id)
    assert order is not None
    assert order.currency == "EUR"


async def test_the_owner_cancels_once(shop: Shop) -> None:
    user = User.new()
    order_id = await place(shop, user)
    cancel = CancelOrder(order_id=order_id)

    await shop.publish(shop.sealed(cancel, shop.carnet(user)))
    first = await shop.next_event()
    await shop.publish(shop.sealed(cancel, shop.carnet(user)))
    second = await shop.next_event()

    assert (first.type, second.type) == ("orders.cancelled.v1", "orders.refused.v1")
    assert json.loads(second.body)["code"] == "not_cancellable"
    order = await shop.order(order_id)
    assert order is not None
    assert order.state == "cancelled"


async def test_a_cancel_that_overtakes_its_order_waits_its_turn(shop: Shop) -> None:
    user, order_id = User.new(), str(uuid.uuid4())

    await shop.publish(shop.sealed(CancelOrder(order_id=order_id), shop.carnet(user)))
    await shop.publish(shop.sealed(TEA, shop.carnet(user), message_id=order_id))
    types = [(await shop.next_event()).type for _ in range(2)]

    assert types == ["orders.placed.v1", "orders.cancelled.v1"]


async def test_a_cancel_of_an_order_that_was_refused_is_told_at_once(shop: Shop) -> None:
    """It would wait for an order that never comes."""
    user, order_id = User.new(), str(uuid.uuid4())
    read_only = shop.carnet(user, scopes=frozenset({ORDERS_READ}))
    await shop.publish(shop.sealed(TEA, read_only, message_id=order_id))
    assert (await shop.next_event()).type == "orders.refused.v1"

    await shop.publish(shop.sealed(CancelOrder(order_id=order_id), shop.carnet(user)))

    assert json.loads((await shop.next_event()).body)["code"] == "not_cancellable"
    await shop.publish(shop.sealed(CancelOrder(order_id=order_id), shop.carnet(User.new())))
    reasons = [(await shop.next_dead_letter()).headers["carnet-reason"] for _ in range(2)]
    assert reasons == ["insufficient_scope", "not_owner"]


async def test_commands_about_one_order_are_handled_as_they_came(shop: Shop) -> None:
    """Sent without waiting for each other, with many handlers at work."""
    user = User.new()
    ids = [str(uuid.uuid4()) for _ in range(10)]
    for order_id in ids:
        await shop.publish(shop.sealed(TEA, shop.carnet(user), message_id=order_id))
        await shop.publish(shop.sealed(CancelOrder(order_id=order_id), shop.carnet(user)))

    told = [json.loads((await shop.next_event()).body)["order_id"] for _ in range(2 * len(ids))]

    assert sorted(told) == sorted(ids * 2)
    assert [(await shop.order(order_id)).state for order_id in ids] == ["cancelled"] * 10  # type: ignore[union-attr]
    assert (await shop.rows())["retries"] == 0


async def test_nobody_cancels_the_order_of_another(shop: Shop) -> None:
    owner, other = User.new(), User.new()
    order_id = await place(shop, owner)

    await shop.publish(shop.sealed(CancelOrder(order_id=order_id), shop.carnet(other)))

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == "not_owner"
    order = await shop.order(order_id)
    assert order is not None
    assert order.state == "placed"
    async with shop.database.session() as session:
        assert await History(session).latest(owner.subject) == 1
        assert await History(session).latest(other.subject) == 1


async def test_an_operator_cancels_the_order_of_another(shop: Shop) -> None:
    owner, operator = User.new(), User.new()
    order_id = await place(shop, owner)
    scopes = frozenset({ORDERS_WRITE, ORDERS_WRITE_ALL})

    cancel = CancelOrder(order_id=order_id)
    await shop.publish(shop.sealed(cancel, shop.carnet(operator, scopes=scopes)))

    event = await shop.next_event()
    assert json.loads(event.body)["cancelled_by"] == operator.subject
    order = await shop.order(order_id)
    assert order is not None
    assert order.state == "cancelled"


async def test_an_order_above_the_limit_is_kept_as_refused_and_told(shop: Shop) -> None:
    user, order_id = User.new(), str(uuid.uuid4())
    line = OrderLine(sku="palace", quantity=2, unit_price=Decimal("600000.00"))
    command = PlaceOrder(lines=(line,), currency="EUR")

    await shop.publish(shop.sealed(command, shop.carnet(user), message_id=order_id))

    event = await shop.next_event()
    assert (event.type, json.loads(event.body)["code"]) == ("orders.refused.v1", "total_too_large")
    order = await shop.order(order_id)
    assert order is not None
    assert (order.state, order.refusal) == ("refused", "total_too_large")


Unadmitted = Callable[[Shop, User], Envelope]
UNADMITTED: Final[dict[str, tuple[str, Unadmitted]]] = {
    "accepted after the carnet's end": (
        "expired",
        lambda shop, user: shop.sealed(TEA, shop.carnet(user, issued_at=time.time() - HOUR)),
    ),
    "waited for more than a day": (
        "too_old",
        lambda shop, user: shop.sealed(
            TEA,
            shop.carnet(user, issued_at=time.time() - 25 * HOUR),
            accepted_at=time.time() - 25 * HOUR,
        ),
    ),
    "without the scope": (
        "insufficient_scope",
        lambda shop, user: shop.sealed(TEA, shop.carnet(user, scopes=frozenset({ORDERS_READ}))),
    ),
    "unreadable": (
        "invalid_body",
        lambda shop, user: shop.sealed(TEA, shop.carnet(user), body=b'{"lines":[]}'),
    ),
}


@pytest.mark.parametrize("case", UNADMITTED)
async def test_a_genuine_command_that_is_refused_is_told_to_its_user(shop: Shop, case: str) -> None:
    """Dead letter with its reason, inbox row, event, and no change to the orders."""
    user = User.new()
    reason, make = UNADMITTED[case]

    await shop.publish(make(shop, user))

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == reason
    event = await shop.next_event()
    assert (event.type, json.loads(event.body)["code"]) == ("orders.refused.v1", reason)
    rows = await shop.rows()
    assert (rows["orders"], rows["inbox"]) == (0, 1)


Forge = Callable[[Shop, Envelope, Envelope], Envelope]


def _with_header(envelope: Envelope, name: str, value: str) -> Envelope:
    return replace(envelope, headers={**envelope.headers, name: value})


FORGERIES: Final[dict[str, tuple[str, Forge]]] = {
    "body changed": (
        "seal_mismatch",
        lambda _, hers, __: replace(hers, body=hers.body.replace(b'"quantity":2', b'"quantity":9')),
    ),
    "carnet moved to another message": (
        "seal_mismatch",
        lambda _, hers, his: _with_header(his, AUTHORIZATION, hers.headers[AUTHORIZATION]),
    ),
    "seal moved to another message": (
        "seal_mismatch",
        lambda _, hers, his: _with_header(hers, CARNET_SEAL, his.headers[CARNET_SEAL]),
    ),
    "no seal": (
        "missing_token",
        lambda _, hers, __: replace(hers, headers={AUTHORIZATION: hers.headers[AUTHORIZATION]}),
    ),
    "no carnet": (
        "missing_token",
        lambda _, hers, __: replace(hers, headers={CARNET_SEAL: hers.headers[CARNET_SEAL]}),
    ),
    "for another audience": (
        "wrong_audience",
        lambda shop, *_: shop.sealed(TEA, shop.carnet(User.new(), audience="billing-service")),
    ),
    "sealed by a stranger": (
        "unknown_key",
        lambda shop, *_: replace(shop, gateway=Sealer(GATEWAY, SigningKey.generate())).sealed(
            TEA, shop.carnet(User.new())
        ),
    ),
    "a second seal in capitals": (
        "duplicate_token",
        lambda _, hers, __: _with_header(hers, "Carnet-Seal", hers.headers[CARNET_SEAL]),
    ),
    "headers too long to copy": (
        "oversized_token",
        lambda _, hers, __: _with_header(hers, AUTHORIZATION, "Bearer " + "a" * 15_000),
    ),
}


@pytest.mark.parametrize("case", FORGERIES)
async def test_a_forgery_leaves_nothing_behind_but_its_dead_letter(shop: Shop, case: str) -> None:
    """Not even an inbox row: whoever cannot seal cannot claim an id. And the consumer goes on."""
    reason, forge = FORGERIES[case]
    hers = shop.sealed(TEA, shop.carnet(User.new()))
    his = shop.sealed(TEA.model_copy(update={"currency": "USD"}), shop.carnet(User.new()))

    await shop.publish(forge(shop, hers, his))

    assert (await shop.next_dead_letter()).headers["carnet-reason"] == reason
    assert set((await shop.rows()).values()) == {0}
    await shop.publish(hers)
    assert (await shop.next_event()).type == "orders.placed.v1"
