"""`carnet rates`: what the services do, and how long it takes, over some seconds from now."""

import asyncio
import time
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from services.cli.answer import Json, print_json
from services.cli.progress import working
from services.cli.watched import Named, watches
from services.errors import StartError
from services.operations.rates import WANTED, Rates, Series
from services.operations.watching import Look, Watch, http_client, look_at

LONGEST: Final = 600

_PER_SECOND: Final = {
    "messages.accepted": "messages accepted",
    "messages.refused": "messages refused",
    "messages.retried": "messages tried again later",
    "published": "messages published",
    "http.requests": "HTTP requests",
}
_MILLISECONDS: Final = {
    "http": "to answer a request",
    "verify": "to verify a message",
    "wait": "for which a message waited",
    "handle": "to handle a message",
}
LAG: Final = "loop.lag"


def rates(
    *,
    seconds: Annotated[
        int, typer.Option(min=1, max=LONGEST, help="For how long to look, from now on.")
    ] = 10,
    watch: Named = None,
    json_output: Json = False,
) -> None:
    """Look at the services twice, and tell what happened in between, all of them together.

    Rates are per second; times are the median and the 99th percentile, in milliseconds; a dash
    where nothing happened or nobody says.

    Examples:
      carnet rates
      carnet rates --seconds 60 --json
      carnet rates --watch orders=http://127.0.0.1:8003
    """
    asked = watches(watch)
    with working(f"looking for {seconds} s"):
        series = asyncio.run(_between(asked, seconds))
    if json_output:
        print_json({"seconds": seconds, "series": series})
        return
    console = Console()
    console.print(_rates(series))
    console.print(_times(series))


async def _between(asked: list[Watch], seconds: int) -> Series:
    """What happened from a look to the next.

    Raises:
        StartError: nobody tells what it counts.
    """
    found = Rates(time.time)
    async with http_client() as http:
        before = await look_at(http, asked, WANTED)
        if all(look.numbers is None for look in before):
            raise StartError(f"nobody tells what it counts: {_errors(before)}")
        found.add(before, [])
        await asyncio.sleep(seconds)
        found.add(await look_at(http, asked, WANTED), [])
    return found.after(0.0)[-1].series


def _errors(looks: list[Look]) -> str:
    return "; ".join(f"{look.name}: {look.error}" for look in looks)


def _rates(series: Series) -> Table:
    table = Table("what", Column("per second", justify="right"))
    for name, said in _PER_SECOND.items():
        table.add_row(said, _number(series[name]))
    return table


def _times(series: Series) -> Table:
    table = Table("time", Column("median ms", justify="right"), Column("p99 ms", justify="right"))
    for name, said in _MILLISECONDS.items():
        table.add_row(said, _number(series[f"{name}.p50"]), _number(series[f"{name}.p99"]))
    table.add_row("by which an event loop was late, at most", "", _number(series[LAG]))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
