"""Access that is ended before its token expires is felt everywhere, at once, and by itself."""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any, Final

import httpx
import pytest

from auth.keyset import TrustRoot
from messaging.pause import first_of
from services.contracts.topology import GATEWAY, ORDER_SERVICE, USER_SERVICE
from services.demo.client import Account, ShopClient, next_event
from services.local.stack import LocalStack
from tests.e2e.conftest import SignUp

BASKET: Final[list[dict[str, Any]]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]


class CommandError(Exception):
    """A command has refused; what it said."""


async def carnet(stack: LocalStack, *arguments: str) -> str:
    """Run `carnet` as the operator, on the stack's state folder; what it said."""
    service = stack.services["users"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from services.cli.main import main; main()",
        *arguments,
        env=service.environment(stack.amqp_url(USER_SERVICE), stack._passphrase)
        | {"CARNET_STATE": str(stack.state)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    if process.returncode != 0:
        raise CommandError(errors.decode())
    return output.decode()


async def refusal_of(stack: LocalStack, account: Account) -> str | None:
    """The code with which the account's access token is refused, None where it is taken."""
    headers = {"Authorization": f"Bearer {account.access_token}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=15) as http:
        answer = await http.get("/v1/orders", headers=headers)
    return None if answer.is_success else str(answer.json()["code"])


async def becomes(stack: LocalStack, account: Account, code: str | None) -> None:
    """Wait until the access token is refused with this code, or taken again."""
    async with asyncio.timeout(60):
        while await refusal_of(stack, account) != code:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.05)


async def test_a_revoked_users_queued_orders_are_refused_although_they_were_accepted(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp
) -> None:
    """And those of somebody else, in the same queue, are placed."""
    ada, mallory = await sign_up("ada"), await sign_up("mallory")
    await stack.stop_service("orders")
    hers = [await shop.place(ada, BASKET) for _ in range(3)]
    his = [await shop.place(mallory, BASKET) for _ in range(3)]

    await carnet(stack, "revoke", "--user", mallory.name)
    await becomes(stack, mallory, "revoked")
    await stack.start_service("orders")

    async with shop.events(ada, last_event_id="0") as events:
        told = [await next_event(events, within=30) for _ in hers]
    assert {event.type for event in told} == {"orders.placed.v1"}
    again = await shop.sign_in(mallory.name, mallory.password)
    async with shop.events(again, last_event_id="0") as events:
        told = [await next_event(events, within=30) for _ in his]
    assert {event.type for event in told} == {"orders.refused.v1"}
    assert all('"code":"revoked"' in event.data for event in told)
    assert await shop.orders(again) == []


async def test_a_session_that_signs_out_is_over_at_once(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp
) -> None:
    ada = await sign_up("ada")
    other = await shop.sign_in(ada.name, ada.password)
    headers = {"Authorization": f"Bearer {ada.access_token}"}

    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=15) as http:
        answer = await http.delete("/v1/sessions/current", headers=headers)

    assert answer.status_code == httpx.codes.NO_CONTENT
    await becomes(stack, ada, "revoked")
    assert await refusal_of(stack, other) is None


@pytest.mark.timeout(180)
async def test_with_the_issuer_away_nothing_is_judged_and_all_goes_on_when_it_is_back(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp
) -> None:
    """Not refused: told to come back. Nobody restarts anything."""
    ada = await sign_up("ada")
    await shop.place(ada, BASKET)
    await stack.stop_service("users")

    await becomes(stack, ada, "trust_unavailable")
    await stack.start_service("users")
    await becomes(stack, ada, None)

    async with shop.events(ada) as events:
        placed = await shop.place(ada, BASKET)
        assert placed in (await next_event(events, within=30)).data


@pytest.mark.timeout(300)
async def test_keys_that_rotate_under_load_refuse_nothing(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp
) -> None:
    """The issuer's by its own command, the gateway's and the order service's by the trust root."""
    users = await asyncio.gather(*(sign_up("user") for _ in range(5)))
    ended = asyncio.Event()

    async def order(user: Account) -> int:
        placed = 0
        while not ended.is_set():
            await shop.place(user, BASKET)
            placed += 1
            await asyncio.sleep(0.2)  # the pace of the load, which lasts for as long as it takes
        return placed

    load = [asyncio.create_task(order(user)) for user in users]
    try:
        issuers, gateways = await signing_key(stack), await active_key(stack, GATEWAY)
        for client in (GATEWAY, ORDER_SERVICE):
            await carnet(stack, "trust", "rotate", client)
        await once_listed_for_long_enough(stack, "keys", "rotate")
        for client in (GATEWAY, ORDER_SERVICE):
            await once_listed_for_long_enough(stack, "trust", "rotate", client)
        for user in users:
            await shop.place(await shop.sign_in(user.name, user.password), BASKET)
    finally:
        ended.set()
        placed = await asyncio.gather(*load)

    assert await signing_key(stack) != issuers
    assert await active_key(stack, GATEWAY) != gateways
    expected = {user.name: count + 1 for user, count in zip(users, placed, strict=True)}
    async with asyncio.timeout(120):
        for user in users:
            while len(await shop.orders(user)) < expected[user.name]:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.2)
    assert {user.name: len(await shop.orders(user)) for user in users} == expected


SESSIONS: Final = 50
ROTATIONS: Final = 5


@pytest.mark.timeout(300)
async def test_an_issuer_that_rotates_five_times_in_a_minute_refuses_nothing(
    stack: LocalStack, shop: ShopClient, sign_up: SignUp
) -> None:
    """Fifty sessions order all the while, some of them begun under each of the keys."""
    users = await asyncio.gather(*(sign_up("user") for _ in range(SESSIONS // 5)))
    more = [shop.sign_in(user.name, user.password) for user in users for _ in range(4)]
    sessions = [*users, *await asyncio.gather(*more)]
    placed: Counter[str] = Counter()
    ended = asyncio.Event()

    async def order(index: int) -> None:
        while not ended.is_set():
            await shop.place(sessions[index], BASKET)
            placed[sessions[index].name] += 1
            await first_of(ended, timeout=3)  # the pace of the load

    # Those that were used before count, until a statement says that they are.
    listed = ROTATIONS + len(json.loads(await carnet(stack, "keys", "list", "--json")))
    await carnet(stack, "trust", "rotate", "issuer", "--ahead", str(listed))
    load = [asyncio.create_task(order(index)) for index in range(SESSIONS)]
    signed = [await signing_key(stack)]
    try:
        for _ in range(ROTATIONS):
            for index, user in enumerate(users):
                sessions[index] = await shop.sign_in(user.name, user.password)
            await once_listed_for_long_enough(stack, "keys", "rotate")
            signed.append(await signing_key(stack))
    finally:
        ended.set()
        await asyncio.gather(*load)

    assert len(set(signed)) == 1 + ROTATIONS
    async with asyncio.timeout(120):
        for user in users:
            while len(await shop.orders(user)) < placed[user.name]:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.2)
    assert {user.name: len(await shop.orders(user)) for user in users} == placed


async def signing_key(stack: LocalStack) -> str:
    """The issuer's key that signs now."""
    keys = json.loads(await carnet(stack, "keys", "list", "--json"))
    signing: list[str] = [key["kid"] for key in keys if key["signing"]]
    return signing[0]


async def active_key(stack: LocalStack, client: str) -> str:
    """The key that the trust root lists as a client's active one."""
    root = TrustRoot.from_json((stack.state / "trust-root.json").read_bytes())
    key_set = root.verify((stack.state / "key-set.jwt").read_text(), now=time.time())
    return next(k for k, v in key_set.clients[client].keys.items() if v.state == "active")


async def once_listed_for_long_enough(stack: LocalStack, *arguments: str) -> None:
    """Repeat a command until the next key has been listed for 30 s, before which it is refused."""
    async with asyncio.timeout(90):
        while True:
            try:
                await carnet(stack, *arguments)
            except CommandError as error:
                assert "30 s" in str(error)  # noqa: PT017 - any other refusal is a failure
                await asyncio.sleep(1)
            else:
                return
