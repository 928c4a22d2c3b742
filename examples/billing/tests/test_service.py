"""The service on a whole system of its own: a broker, the issuer, the gateway, real tokens."""

import asyncio

import httpx

from billing.app import HERE, SERVICE
from billing.store import INVOICES
from services.local.trial import Trial, trial

TEA = {"currency": "EUR", "lines": [{"sku": "tea", "quantity": 2, "unit_price": "4.20"}]}


def test_the_service_does_what_it_declares() -> None:
    SERVICE.check()


def test_an_order_is_billed_once_and_cancelled_for_its_user_alone() -> None:
    async def scenario() -> None:
        async with trial(SERVICE, HERE) as stack:
            ada, eve = await stack.user("ada"), await stack.user("eve")
            order_id = (await ada.post("/v1/orders", json=TEA)).json()["id"]
            await stack.until(lambda: _is_billed(stack, order_id))

            await _refund(eve, order_id)
            await _refund(ada, order_id)
            await _refund(ada, order_id)

            await stack.until(lambda: _is_cancelled(ada, order_id))
            invoices = await stack.rows(INVOICES)
            assert [(each.total, each.state) for each in invoices] == [("8.40", "refunded")]

    asyncio.run(scenario())


async def _refund(user: httpx.AsyncClient, order_id: str) -> None:
    answer = await user.post("/v1/commands/billing.refund.v1", json={"order_id": order_id})
    assert answer.status_code == 202, answer.text


async def _is_billed(stack: Trial, order_id: str) -> bool:
    return [each.order_id for each in await stack.rows(INVOICES)] == [order_id]


async def _is_cancelled(user: httpx.AsyncClient, order_id: str) -> bool:
    order: dict[str, str] = (await user.get(f"/v1/orders/{order_id}")).json()
    return order["state"] == "cancelled"
