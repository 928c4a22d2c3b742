"""A command that kills whoever handles it, on each kind of broker: it costs no neighbour."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from sqlalchemy import select

from messaging.publisher import Publisher
from messaging.retries import CRASHES
from tests.messaging.conftest import started_broker
from tests.messaging.market import GATEWAY, WORK, sell
from tests.messaging.mortal import POISON, Plan
from tests.messaging.raw import raw_channel
from tests.messaging.stall import SALES, TABLES, Stall, open_stall
from tests.messaging.supervised import START, supervised


@pytest_asyncio.fixture
async def stall(conformance_amqp_url: str, tmp_path: Path) -> AsyncIterator[Stall]:
    """The queues and tables; another process consumes."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'stall.db'}"
    async with (
        started_broker(conformance_amqp_url) as link,
        raw_channel(conformance_amqp_url) as raw,
        open_stall(link, Publisher(link, client_id=GATEWAY), raw, url) as stall,
    ):
        yield stall


async def test_poison_is_set_aside_after_five_crashes_and_costs_no_neighbour(
    stall: Stall, conformance_amqp_url: str, tmp_path: Path
) -> None:
    """Its innocent neighbours were prefetched with it, and some ran beside it."""
    innocent = [sell(f"tea {number:02}") for number in range(40)]
    poison = sell(POISON)
    await stall.send(*innocent[:20], poison, *innocent[20:])

    plan = Plan(conformance_amqp_url, str(stall.database.url))
    async with supervised(plan, tmp_path) as supervisor:
        dead = await stall.raw.next(WORK.dead, within=2 * START)
        await stall.until_rows(SALES, len(innocent), within=START)
        assert await supervisor.stop() == 0

    assert supervisor.said.count("killed") == CRASHES
    assert dead.headers["carnet-reason"] == "poison"
    assert dead.body == poison.envelope.body
    assert await stall.sales() == [f"tea {number:02}" for number in range(40)]
    assert await stall.raw.count(WORK.dead) == 0
    assert await stall.raw.count(WORK.name) == 0
    assert await stall.rows(TABLES.retries) == 0
    async with stall.database.session() as session:
        refused = select(TABLES.inbox.c.jti, TABLES.inbox.c.code).where(
            TABLES.inbox.c.outcome == "refused"
        )
        assert (await session.execute(refused)).all() == [(poison.message_id, "poison")]
