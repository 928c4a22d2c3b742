"""Orders over HTTP: placed once however often they are sent, cancelled, seen by their own user."""

import asyncio
import re
from typing import Any

import pytest

from services.gateway.idempotency import message_id_of
from tests.services.gateway.stack import TEA, Stack, User

COFFEE = {"lines": [{"sku": "coffee", "quantity": 1, "unit_price": "7.90"}], "currency": "EUR"}
UNKNOWN = "00000000-0000-8000-8000-000000000000"
UUID_8 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def test_an_order_is_accepted_and_then_placed(ada: User) -> None:
    accepted = await ada.place(key="first-order")

    assert accepted.status_code == 202
    order_id = accepted.json()["id"]
    assert accepted.json() == {"id": order_id, "state": "accepted"}
    assert accepted.headers["location"] == f"/v1/orders/{order_id}"
    assert accepted.headers["idempotency-key"] == "first-order"
    assert order_id == message_id_of("api-gateway", ada.sub, "first-order")
    order = await ada.order(order_id)
    assert (order["state"], order["total"], order["placed_by"]) == ("placed", "8.40", ada.sub)
    assert order["placed_through"] == ["api-gateway"]
    assert order["lines"] == TEA["lines"]


async def test_the_same_key_and_body_are_the_same_order(stack: Stack, ada: User) -> None:
    answers = [await ada.place(key="once") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.headers["location"] for answer in answers}) == 1
    await ada.order(answers[0].json()["id"])
    last = await ada.place(COFFEE)
    await ada.order(last.json()["id"])
    assert await stack.stored_orders(ada.sub) == 2


async def test_bodies_that_say_the_same_are_the_same(ada: User) -> None:
    """White space, the order of members and the form of a number make no other order."""
    one = await ada.place(key="once")
    headers = {"Idempotency-Key": "once", "Content-Type": "application/json"}
    text = '{ "currency":"EUR", "lines":[{"unit_price":"4.20","quantity":2,"sku":"tea-earl-grey"}]}'

    other = await ada.http.post("/v1/orders", content=text, headers=headers)

    assert other.status_code == 202
    assert other.json() == one.json()


async def test_the_same_key_with_another_body_is_refused(ada: User) -> None:
    placed = await ada.place(key="once")

    answer = await ada.place(COFFEE, key="once")

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "idempotency_key_reused")
    assert problem["order_id"] == placed.json()["id"]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_key_belongs_to_one_command(ada: User) -> None:
    placed = await ada.place(key="once")

    answer = await ada.http.post(
        f"{placed.headers['location']}/cancel", headers={"Idempotency-Key": "once"}
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_two_users_may_use_the_same_key(stack: Stack, ada: User) -> None:
    async with stack.user() as bob:
        one, other = await ada.place(key="once"), await bob.place(COFFEE, key="once")

    assert (one.status_code, other.status_code) == (202, 202)
    assert one.json()["id"] != other.json()["id"]


async def test_equal_requests_at_once_are_one_order(stack: Stack, ada: User) -> None:
    answers = await asyncio.gather(*(ada.place(key="once") for _ in range(8)))

    assert {answer.status_code for answer in answers} == {202}
    (order_id,) = {answer.json()["id"] for answer in answers}
    await ada.order(order_id)
    assert await stack.stored_orders(ada.sub) == 1


async def test_a_key_is_made_where_none_is_sent_and_serves_to_repeat(
    stack: Stack, ada: User
) -> None:
    first, second = await ada.place(), await ada.place()
    assert first.json()["id"] != second.json()["id"]

    again = await ada.place(key=first.headers["idempotency-key"])

    assert again.json() == first.json()
    await ada.order(first.json()["id"])
    await ada.order(second.json()["id"])
    assert await stack.stored_orders(ada.sub) == 2


@pytest.mark.parametrize("key", ["", "with space", "ünlaut", "k" * 256])
async def test_a_key_that_cannot_be_one_is_refused(anyone: User, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]

    answer = await anyone.http.post("/v1/orders", json=TEA, headers=headers)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    assert [error["parameter"] for error in problem["errors"]] == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"lines": []}, "#/lines"),
        ({"lines": [{"sku": "tea", "quantity": 0, "unit_price": "1"}]}, "#/lines/0/quantity"),
        ({"lines": [{"sku": "tea", "quantity": 1.5, "unit_price": "1"}]}, "#/lines/0/quantity"),
        ({"lines": [{"sku": "tea", "quantity": "1", "unit_price": "1"}]}, "#/lines/0/quantity"),
        ({"lines": [{"sku": "tea", "quantity": True, "unit_price": "1"}]}, "#/lines/0/quantity"),
        ({"lines": [{"sku": "te a", "quantity": 1, "unit_price": "1"}]}, "#/lines/0/sku"),
        ({"lines": [{"sku": "tea", "quantity": 1, "unit_price": "-1"}]}, "#/lines/0/unit_price"),
        ({"lines": [{"sku": "tea", "quantity": 1, "unit_price": "1.001"}]}, "#/lines/0/unit_price"),
        ({"lines": [{"sku": "tea", "quantity": 1, "unit_price": "NaN"}]}, "#/lines/0/unit_price"),
        ({"currency": "euro"}, "#/currency"),
        ({"total": "1"}, "#/total"),
        ({"a/b~c": 1}, "#/a~1b~0c"),
    ],
)
async def test_an_invalid_order_names_each_place(
    anyone: User, changed: dict[str, Any], pointer: str
) -> None:
    answer = await anyone.place({**TEA, **changed})

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_an_order_of_more_than_64_kib_is_refused(anyone: User) -> None:
    line = {"sku": "s" * 64, "quantity": 1, "unit_price": "1.00"}

    answer = await anyone.place({"lines": [line] * 1000, "currency": "EUR"})

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_an_order_is_cancelled(ada: User) -> None:
    placed = (await ada.place()).json()["id"]
    await ada.order(placed)

    answer = await ada.http.post(f"/v1/orders/{placed}/cancel")

    assert answer.status_code == 202
    assert answer.json() == {"id": placed, "state": "accepted"}
    assert answer.headers["location"] == f"/v1/orders/{placed}"
    assert answer.headers["idempotency-key"]
    async with asyncio.timeout(20):
        while (await ada.order(placed))["state"] != "cancelled":
            pass


async def test_a_cancel_may_be_repeated(ada: User) -> None:
    placed = (await ada.place()).json()["id"]

    answers = [
        await ada.http.post(f"/v1/orders/{placed}/cancel", headers={"Idempotency-Key": "stop"})
        for _ in range(2)
    ]

    assert {answer.status_code for answer in answers} == {202}


@pytest.mark.parametrize("order_id", ["1", "not-an-id", UNKNOWN.upper().replace("0", "A")])
async def test_what_is_no_order_id_is_an_invalid_request(anyone: User, order_id: str) -> None:
    answer = await anyone.http.get(f"/v1/orders/{order_id}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["in"] == "path"


async def test_orders_are_listed_newest_first_a_page_at_a_time(ada: User) -> None:
    placed = []
    for _ in range(3):
        order_id = (await ada.place()).json()["id"]
        await ada.order(order_id)
        placed.append(order_id)

    first = (await ada.http.get("/v1/orders", params={"limit": 2})).json()
    second = (await ada.http.get("/v1/orders", params={"cursor": first["next"]})).json()

    seen = [order["id"] for order in first["orders"] + second["orders"]]
    assert len(first["orders"]) == 2
    assert sorted(seen) == sorted(placed)
    assert second["next"] is None


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "c" * 201}, "cursor"),
        ({"everyone": "perhaps"}, "everyone"),
    ],
)
async def test_an_invalid_parameter_is_named(
    anyone: User, params: dict[str, str], parameter: str
) -> None:
    answer = await anyone.http.get("/v1/orders", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


async def test_a_cursor_that_nobody_gave_is_an_invalid_request(anyone: User) -> None:
    answer = await anyone.http.get("/v1/orders", params={"cursor": "made up"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_nobody_sees_the_orders_of_somebody_else(stack: Stack, ada: User) -> None:
    placed = (await ada.place()).json()["id"]
    await ada.order(placed)
    async with stack.user() as bob:
        one = await bob.http.get(f"/v1/orders/{placed}")
        unknown = await bob.http.get(f"/v1/orders/{UNKNOWN}")
        listed = await bob.http.get("/v1/orders")

    assert (one.status_code, unknown.status_code) == (404, 404)
    assert {**one.json(), "instance": ""} == {**unknown.json(), "instance": ""}
    assert listed.json() == {"orders": [], "next": None}


async def test_an_operator_sees_and_cancels_everyones_orders(stack: Stack, ada: User) -> None:
    placed = (await ada.place()).json()["id"]
    await ada.order(placed)
    async with stack.operator() as operator:
        listed = await operator.http.get("/v1/orders", params={"everyone": "true", "limit": 100})
        assert placed in [order["id"] for order in listed.json()["orders"]]
        assert (await operator.order(placed))["placed_by"] == ada.sub

        cancelled = await operator.http.post(f"/v1/orders/{placed}/cancel")

        assert cancelled.status_code == 202
        async with asyncio.timeout(20):
            while (await ada.order(placed))["state"] != "cancelled":
                pass


async def test_every_order_id_is_a_uuid_of_version_8(anyone: User) -> None:
    assert UUID_8.fullmatch((await anyone.place()).json()["id"])
