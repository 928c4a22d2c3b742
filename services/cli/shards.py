"""`carnet shards`: how many queues the order commands are spread over, changed while all runs."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from messaging.inspection import QueueCount, count_queues, left_shards
from messaging.sharding import MAX_SHARDS
from messaging.topology import declare
from services.cli.answer import Json, print_json, say
from services.cli.progress import working
from services.contracts.topology import orders_commands, whole_topology
from services.operations.seat import connected, read_desk_settings

WITHIN: Final = 60.0
"""Seconds for the broker to make, and tell, everything."""


def shards(
    number: Annotated[int, typer.Argument(min=1, max=MAX_SHARDS, help="Queues from now on.")],
    *,
    json_output: Json = False,
) -> None:
    """Spread the order commands over so many queues, from now on.

    Makes the queues, unbinds those of another number, and tells what waits in each.

    Deletes nothing.

    More: this first, then CARNET_ORDERS_SHARDS for the order service, then for the gateways.

    Fewer: for the gateways first, then for the order service, and this last.

    Examples:
      carnet shards 4
      carnet shards 4 --json
    """
    with working("making and counting queues"):
        counts, left = asyncio.run(_change(number))
    if json_output:
        told = {name: asdict(count) for name, count in (counts | left).items()}
        print_json(told)
        return
    table = Table("queue", "wait", "consume")
    for name, count in (counts | left).items():
        table.add_row(name, str(count.messages), str(count.consumers))
    Console().print(table)
    if left:
        say(f"{', '.join(left)}: no shards any more; once empty, delete them, the highest first")


async def _change(number: int) -> tuple[dict[str, QueueCount], dict[str, QueueCount]]:
    """What waits in the queues that are served now, and in those that were before."""
    work = orders_commands(number)
    async with connected(read_desk_settings()) as broker:
        await declare(broker, whole_topology(number), deadline=WITHIN)
        counts = await count_queues(broker, work.consumed, deadline=WITHIN)
        return counts, await left_shards(broker, work, deadline=WITHIN)
