"""The consumer on each kind of broker: what it promises does not depend on the version."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from auth.errors import RefusalError
from messaging.errors import NotYetError
from messaging.publisher import Publisher
from tests.messaging.conftest import started_broker
from tests.messaging.market import GATEWAY, WORK, Sell, sell
from tests.messaging.raw import raw_channel
from tests.messaging.stall import Stall, open_stall


@pytest_asyncio.fixture
async def stall(conformance_amqp_url: str, tmp_path: Path) -> AsyncIterator[Stall]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'stall.db'}"
    async with (
        started_broker(conformance_amqp_url) as link,
        raw_channel(conformance_amqp_url) as raw,
        open_stall(link, Publisher(link, client_id=GATEWAY), raw, url) as stall,
    ):
        yield stall


async def test_commands_are_done_once_retried_or_kept_dead(stall: Stall) -> None:
    async def too_early_once(command: Sell) -> None:
        if command.what == "early" and stall.starts.count("early") == 1:
            raise NotYetError("not yet")

    stall.before = too_early_once
    await stall.open()
    twice = sell("twice")

    await stall.send(twice, twice, sell("early"), sell().but(body=b"no json"))

    assert (await stall.dead_letter()).headers["carnet-reason"] == "invalid_body"
    await stall.settled(5)
    assert await stall.sales() == ["early", "twice"]
    assert stall.consumer.counts == {"done": 3, "retried": 1, "dead:invalid_body": 1}


async def test_what_was_retried_can_still_be_kept_dead(stall: Stall) -> None:
    """A copy that carried the broker's `x-death` along would be dropped as a cycle on 3.10."""

    async def too_early_then_refused(_: Sell) -> None:
        if len(stall.starts) == 1:
            raise NotYetError("not yet")
        raise RefusalError("sold_out", "there is none left")

    stall.before = too_early_then_refused
    await stall.open()

    await stall.send(sell("tea"))

    assert (await stall.dead_letter()).headers["carnet-reason"] == "sold_out"
    assert stall.starts == ["tea", "tea"]
    assert await stall.sales() == []


async def test_what_was_retried_can_be_retried_again(stall: Stall) -> None:
    async def too_early(_: Sell) -> None:
        raise NotYetError("not yet")

    stall.before = too_early
    await stall.open()

    await stall.send(sell("tea"))

    await stall.settled(2)
    await stall.raw.until_count(WORK.retries[1].name, 1)
