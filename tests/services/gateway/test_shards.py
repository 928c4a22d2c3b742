"""Orders through the gateway to shards, each service with a login that may do only its own."""

from pathlib import Path
from typing import Literal

import pytest

from messaging.sharding import shard_of
from services.contracts.topology import GATEWAY, ORDER_SERVICE, USER_SERVICE, orders_commands
from services.local.logins import OPERATOR
from tests.brokers import RunningBroker
from tests.messaging.raw import raw_channel
from tests.services.gateway.stack import open_stack

FOUR = orders_commands(4)
ORDERS = 12


@pytest.mark.parametrize("by", ["order", "subject"])
async def test_orders_wait_in_the_shards_of_what_stays_together_and_are_placed(
    broker: RunningBroker, tmp_path: Path, by: Literal["order", "subject"]
) -> None:
    async with (
        broker.stack_vhost(shards=4) as vhost,
        open_stack(
            tmp_path,
            vhost.url,
            *(USER_SERVICE, GATEWAY),
            order_settings={"orders_shards": 4},
            orders_shards=4,
            orders_shard_by=by,
        ) as stack,
        stack.user() as user,
        raw_channel(vhost.url(OPERATOR)) as raw,
    ):
        ids = [(await user.place()).raise_for_status().json()["id"] for _ in range(ORDERS)]

        shards = [shard_of(user.sub if by == "subject" else each, 4) for each in ids]
        for number in range(4):
            await raw.until_count(FOUR.shard(number), shards.count(number))
        assert await raw.count(FOUR.name) == 0

        await stack.start(ORDER_SERVICE)
        assert {(await user.order(each))["state"] for each in ids} == {"placed"}


async def test_a_gateway_that_knows_of_no_shards_is_served_all_the_same(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """As while the number grows: the consumers are told first."""
    async with (
        broker.stack_vhost(shards=4) as vhost,
        open_stack(tmp_path, vhost.url, order_settings={"orders_shards": 4}) as stack,
        stack.user() as user,
    ):
        placed = (await user.place()).raise_for_status().json()["id"]

        assert (await user.order(placed))["state"] == "placed"
