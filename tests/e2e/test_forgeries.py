"""Whatever is written straight to the broker: no order changes, and the consumer goes on."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from auth.keyset import TrustRoot
from messaging.envelope import Envelope
from services.contracts.topology import PLACE_ORDER
from services.demo.client import ShopClient, next_event
from services.demo.forgeries import ForgersKeys, five_forgeries
from services.demo.wiretap import Wiretap
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from tests.e2e.conftest import SignUp

BASKET: Final[list[dict[str, Any]]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]


@pytest_asyncio.fixture
async def tap(stack: LocalStack) -> AsyncIterator[Wiretap]:
    async with Wiretap(stack.amqp_url(OPERATOR)) as tap:
        yield tap


async def test_each_of_the_five_forgeries_bounces_with_its_reason(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp, tap: Wiretap
) -> None:
    ada, mallory = await sign_up("ada"), await sign_up("mallory")
    async with shop.events(ada) as events:
        await shop.place(ada, BASKET)
        hers = await tap.capture()
        await next_event(events, within=20)
        await shop.place(mallory, BASKET)
        his = await tap.capture()
        before = await shop.orders(ada)
        root = TrustRoot.from_json((stack.state / "trust-root.json").read_bytes())
        key_set = root.verify((stack.state / "key-set.jwt").read_text(), now=time.time())
        keys = ForgersKeys.load(stack.state / "keys", key_set, None)

        bounced = []
        for forgery in five_forgeries(hers, his, keys, issuer=key_set.issuer, now=time.time()):
            await tap.publish(forgery.envelope)
            dead = await tap.dead_letter(forgery.envelope)
            bounced.append((forgery.title, dead.headers["carnet-reason"], forgery.expected))

        assert len(bounced) == 5
        assert [reason for _, reason, _ in bounced] == [expected for *_, expected in bounced]
        assert await shop.orders(ada) == before

        placed = await shop.place(ada, BASKET)
        told = [await next_event(events, within=20) for _ in range(2)]
        # The expired one was genuinely sealed by the gateway: its user hears of the refusal.
        assert [event.type for event in told] == ["orders.refused.v1", "orders.placed.v1"]
        assert placed in told[1].data


@pytest.mark.parametrize("what", ["body", "carnet", "seal", "everything"])
async def test_random_bytes_are_dead_letters_and_nothing_else(
    shop: ShopClient,
    sign_up: SignUp,
    tap: Wiretap,
    what: str,
) -> None:
    """A genuine message of which one part, or all, is noise."""
    user = await sign_up("ada")
    async with shop.events(user) as events:
        await shop.place(user, BASKET)
        genuine = await tap.capture()
        await next_event(events, within=20)
        before = await shop.orders(user)

        for _ in range(20):
            noise = secrets.token_bytes(200)
            headers = dict(genuine.headers)
            if what in {"carnet", "everything"}:
                headers["authorization"] = f"Bearer {secrets.token_urlsafe(300)}"
            if what in {"seal", "everything"}:
                headers["carnet-seal"] = secrets.token_urlsafe(300)
            body = noise if what in {"body", "everything"} else genuine.body
            forged = Envelope(route=PLACE_ORDER, body=body, headers=headers)
            await tap.publish(forged)
            await tap.dead_letter(forged)

        assert await shop.orders(user) == before
        placed = await shop.place(user, BASKET)
        assert placed in (await next_event(events, within=20)).data
