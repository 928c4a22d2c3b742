"""`carnet queues`: how much lies in each queue of the system, the retries and dead letters too."""

import asyncio
from pathlib import Path

from pydantic import Field
from rich.console import Console
from rich.table import Column, Table

from messaging.sharding import MAX_SHARDS
from services.cli.answer import Json, print_json
from services.cli.progress import working
from services.declared import DECLARED, read_all_declared
from services.local.running import told
from services.operations.places import DECLARED_FOLDER
from services.operations.queues import Counted, counted, queues_of
from services.operations.seat import DeskSettings, connected
from services.settings import ORDERS_SHARDS, read_settings


class QueuesSettings(DeskSettings):
    """Where things are, and which queues there are."""

    orders_shards: int | None = Field(
        default=None,
        ge=1,
        le=MAX_SHARDS,
        description=f"{ORDERS_SHARDS}; else as many as a stack has that runs in CARNET_STATE",
    )
    services: Path | None = Field(default=None, description=DECLARED_FOLDER)

    @property
    def shards(self) -> int:
        running = told(self.state, "orders") or {}
        return self.orders_shards or int(running.get("CARNET_ORDERS_SHARDS", "1"))


def queues(*, json_output: Json = False) -> None:
    """List the queues: what each is for, how much lies in it, and how many consume from it.

    Nothing is taken from any. Asks the broker of the stack that runs in CARNET_STATE, or the one
    that CARNET_OPERATOR_URL names.

    Examples:
      carnet queues
      carnet queues --json
    """
    with working("counting"):
        found = asyncio.run(_count(read_settings(QueuesSettings)))
    if json_output:
        print_json([each.as_json() for each in found])
        return
    table = Table(
        Column("queue", no_wrap=True),
        "kind",
        Column("wait", justify="right"),
        Column("consume", justify="right"),
    )
    for each in found:
        numbers = (each.count.messages, each.count.consumers) if each.count else ("-", "-")
        table.add_row(each.queue.name, each.queue.kind, *map(str, numbers))
    Console().print(table)


async def _count(settings: QueuesSettings) -> list[Counted]:
    declared = read_all_declared(settings.services or settings.state / DECLARED)
    async with connected(settings) as broker:
        return await counted(broker, queues_of(settings.shards, declared))
