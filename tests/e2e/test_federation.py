"""The issuer at one broker, everybody else at another: a link carries trust, and may be cut."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from services.contracts.topology import GATEWAY
from services.demo.client import Account, ShopClient, next_event
from services.local.stack import LocalStack
from tests.brokers import KINDS
from tests.e2e.test_revocation import becomes, carnet, refusal_of
from tests.engine import UnavailableError
from tests.splits import Split, running_split

BASKET: Final[list[dict[str, Any]]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]
BUFFER: Final = "federation: carnet.trust -> shop"
"""The queue at the issuer's broker in which the feed waits for the link."""

PAUSED: Final = "trust_unavailable"
WITHIN: Final = 60.0
LOOK: Final = 0.02

pytestmark = pytest.mark.timeout(400)


@pytest_asyncio.fixture(scope="module", params=KINDS)
async def split(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Split]:
    try:
        async with running_split(request.param, tmp_path_factory.mktemp("split")) as split:
            yield split
    except UnavailableError as error:
        pytest.skip(f"no {request.param}: {error}")


@pytest_asyncio.fixture(scope="module")
async def split_stack(
    split: Split, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalStack]:
    """It starts at all only because its relying parties have their snapshots over the link."""
    async with LocalStack(tmp_path_factory.mktemp("stack"), broker=split) as running:
        yield running


@pytest_asyncio.fixture
async def ada_and_mallory(
    split_stack: LocalStack,
) -> tuple[Account, Account]:
    """Two who have signed in over the link."""
    password = "correct horse battery staple"
    async with ShopClient(split_stack.gateway_url) as shop:
        names = [f"{who}-{secrets.token_hex(6)}" for who in ("ada", "mallory")]
        for name in names:
            await shop.register(name, password)
        ada, mallory = [await shop.sign_in(name, password) for name in names]
    return ada, mallory


async def test_orders_are_placed_with_the_issuer_at_another_broker(
    split_stack: LocalStack, ada_and_mallory: tuple[Account, Account]
) -> None:
    ada, _ = ada_and_mallory
    async with ShopClient(split_stack.gateway_url) as shop, shop.events(ada) as events:
        placed = await shop.place(ada, BASKET)

        assert placed in (await next_event(events, within=WITHIN)).data


async def test_what_the_issuer_ends_is_ended_at_the_other_broker(
    split_stack: LocalStack, ada_and_mallory: tuple[Account, Account]
) -> None:
    ada, mallory = ada_and_mallory

    await carnet(split_stack, "revoke", "--user", mallory.name)

    await becomes(split_stack, mallory, "revoked")
    assert await refusal_of(split_stack, ada) is None


async def test_a_new_key_set_statement_comes_to_the_other_broker(
    split_stack: LocalStack,
) -> None:
    await carnet(split_stack, "trust", "sign")
    signed = (split_stack.state / "key-set.jwt").read_text().strip()

    kept = split_stack.state / "trust" / GATEWAY / "key-set.jwt"
    async with asyncio.timeout(WITHIN):
        while kept.read_text() != signed:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(LOOK)


async def test_a_link_that_is_cut_pauses_all_and_loses_no_revocation(
    split: Split, split_stack: LocalStack, ada_and_mallory: tuple[Account, Account]
) -> None:
    """Also where the cut lasts for longer than the link's queue keeps what is told."""
    ada, mallory = ada_and_mallory
    await split.link.cut()
    await carnet(split_stack, "revoke", "--user", mallory.name)
    await forget_what_waits_for_the_link(split)
    await becomes(split_stack, ada, PAUSED)

    await split.link.mend()

    assert await first_judgement_of(split_stack, mallory) == "revoked"
    await becomes(split_stack, ada, None)
    async with ShopClient(split_stack.gateway_url) as shop, shop.events(ada) as events:
        placed = await shop.place(ada, BASKET)
        assert placed in (await next_event(events, within=WITHIN)).data


async def forget_what_waits_for_the_link(split: Split) -> None:
    """As the issuer's broker does by itself after a minute."""
    await split.issuers.control("delete_queue", BUFFER)


async def first_judgement_of(stack: LocalStack, account: Account) -> str | None:
    """What becomes of the access token as soon as anything is judged again."""
    async with asyncio.timeout(WITHIN):
        while (code := await refusal_of(stack, account)) == PAUSED:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(LOOK)
    return code
