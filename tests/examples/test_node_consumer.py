"""The Node.js consumer in the order service's place: it takes what that would, and no more."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from auth.keyset import TrustRoot
from services.contracts.topology import ORDER_SERVICE
from services.demo.client import ShopClient
from services.demo.forgeries import Captured, ForgersKeys, five_forgeries
from services.demo.wiretap import Wiretap
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from tests.brokers import VhostBroker
from tests.examples.conftest import SignUp
from tests.examples.node import WITHIN, Example, running

pytestmark = pytest.mark.node

BASKET: Final[list[dict[str, Any]]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]


@pytest_asyncio.fixture
async def consumer(stack: LocalStack, tmp_path: Path) -> AsyncIterator[Example]:
    """It, and no order service beside it."""
    await stack.stop_service("orders")
    settings = {
        "CARNET_AMQP_URL": stack.amqp_url(ORDER_SERVICE),
        "CARNET_TRUST_ROOT": str(stack.state / "trust-root.json"),
        "CARNET_KEY_SET": str(stack.state / "key-set.jwt"),
        "CARNET_TRUST_STATE": str(tmp_path / "trust"),
        "CARNET_KEYS": str(stack.state / "keys" / ORDER_SERVICE),
    }
    async with running("node-consumer", settings) as example:
        await example.says("ready")
        yield example
    await stack.start_service("orders")


@pytest_asyncio.fixture
async def tap(stack: LocalStack) -> AsyncIterator[Wiretap]:
    async with Wiretap(stack.amqp_url(OPERATOR)) as tap:
        yield tap


async def test_it_takes_a_genuine_order_and_refuses_each_of_the_five_forgeries(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp, tap: Wiretap, consumer: Example
) -> None:
    ada, mallory = await sign_up("ada"), await sign_up("mallory")
    placed = await shop.place(ada, BASKET)
    hers = await tap.capture()
    accepted = await consumer.says("accepted")
    await shop.place(mallory, BASKET)
    his = await tap.capture()
    await consumer.says("accepted")
    root = TrustRoot.from_json((stack.state / "trust-root.json").read_bytes())
    key_set = root.verify((stack.state / "key-set.jwt").read_text(), now=time.time())
    keys = ForgersKeys.load(stack.state / "keys", key_set, None)

    bounced = []
    for forgery in five_forgeries(hers, his, keys, issuer=key_set.issuer, now=time.time()):
        await tap.publish(forgery.envelope)
        dead = await tap.dead_letter(forgery.envelope)
        said = await consumer.says("refused")
        bounced.append((dead.headers["carnet-reason"], said["code"], forgery.expected))

    assert (accepted["id"], accepted["actors"]) == (placed, ["api-gateway"])
    assert accepted["command"]["lines"] == BASKET
    assert len(bounced) == 5
    assert [reason for reason, _, _ in bounced] == [expected for *_, expected in bounced]
    assert [code for _, code, _ in bounced] == [expected for *_, expected in bounced]


async def test_a_message_that_comes_again_is_handled_once(
    shop: ShopClient, sign_up: SignUp, tap: Wiretap, consumer: Example
) -> None:
    placed = await shop.place(await sign_up("ada"), BASKET)
    captured = await tap.capture()
    await consumer.says("accepted")

    await tap.publish(captured.envelope())

    assert (await consumer.says("repeated", "accepted")) == {"what": "repeated", "id": placed}


async def test_the_order_of_a_session_that_has_ended_since_is_refused(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp, tap: Wiretap, consumer: Example
) -> None:
    """It hears of the end over the trust feed, and asks nobody."""
    ada = await sign_up("ada")
    await shop.place(ada, BASKET)
    captured = await tap.capture()
    await consumer.says("accepted")

    async with httpx.AsyncClient(base_url=stack.gateway_url) as http:
        bearer = {"Authorization": f"Bearer {ada.access_token}"}
        assert (await http.delete("/v1/sessions/current", headers=bearer)).is_success

    assert (await refusal_of(captured, tap, consumer))["code"] == "revoked"


async def refusal_of(captured: Captured, tap: Wiretap, consumer: Example) -> dict[str, Any]:
    """How it is refused, once it is: until then it is known, and not done again."""
    async with asyncio.timeout(WITHIN):
        while True:
            await tap.publish(captured.envelope())
            said = await consumer.says("repeated", "refused")
            if said["what"] == "refused":
                return said


async def test_while_the_issuer_is_silent_it_judges_nothing_and_refuses_nothing(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp, tap: Wiretap, consumer: Example
) -> None:
    await shop.place(await sign_up("ada"), BASKET)
    captured = await tap.capture()
    await consumer.says("accepted")

    await stack.stop_service("users")
    async with httpx.AsyncClient(base_url=stack.gateway_url) as http, asyncio.timeout(WITHIN):
        while (await http.get("/health/ready")).is_success:
            pass  # the gateway hears the same silence
        while True:
            await tap.publish(captured.envelope())
            said = await consumer.says("repeated", "refused", "waiting")
            if said["what"] != "repeated":
                break
    assert said == {"what": "waiting", "why": "the trust feed is silent"}

    await stack.start_service("users")
    assert (await consumer.says("repeated", "refused"))["what"] == "repeated"


async def test_it_comes_back_after_its_connection_is_lost(
    vhost_broker: VhostBroker, shop: ShopClient, sign_up: SignUp, consumer: Example
) -> None:
    """What was told meanwhile is lost: it takes a snapshot before it judges on."""
    ada = await sign_up("ada")
    async with vhost_broker.broker.management() as api, asyncio.timeout(WITHIN):
        closed = False
        while not closed:  # the broker's list is some seconds behind
            for connection in (await api.get("/connections")).json():
                named = connection.get("client_properties", {}).get("connection_name")
                if named == ORDER_SERVICE:
                    await api.delete(f"/connections/{quote(connection['name'])}")
                    closed = True
    await consumer.says("ready")

    placed = await shop.place(ada, BASKET)

    assert (await consumer.says("accepted"))["id"] == placed


async def test_it_ends_when_it_is_asked_to_and_what_it_has_not_done_stays(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp, consumer: Example
) -> None:
    assert await consumer.stop() == 0

    account = await sign_up("ada")
    placed = await shop.place(account, BASKET)
    await stack.start_service("orders")
    async with asyncio.timeout(WITHIN):
        while (order := await shop.order(account, placed)) is None:
            pass

    assert order["state"] == "placed"
    await stack.stop_service("orders")
