"""Memory: what a consumer's process holds, at rest and after its queue was emptied at full speed.

Resident memory, as `ps` shows it, and of that what is its own: not a file's, which processes of one
image share. `consumer` is the larger of rest and load.
"""

from collections import defaultdict
from statistics import median
from typing import Final

from rich.table import Table

from benchmarks import filling, standing
from benchmarks.harness import Bench
from benchmarks.processes import memory
from services.local.stack import LocalStack

SESSIONS: Final = 50
MIB: Final = 2**20
COLUMNS: Final = ("rest", "load", "peak", "private")


async def run(bench: Bench) -> None:
    count, rounds = bench.settings.messages, bench.settings.rounds
    # New ones for each round: the order service would not handle those of another one again.
    letters = await bench.letters(count * rounds, sessions=SESSIONS)
    plain = [letter.unsealed() for letter in letters[:count]]
    held: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
    async with LocalStack(bench.state, broker=bench.broker, only=["users"]) as stack:
        for name, start in standing.starters(bench, stack).items():
            for number in range(rounds):
                async with start() as consumer:
                    rest = memory(consumer.pid, "VmRSS")
                    new = letters[number * count : (number + 1) * count]
                    batch = new if name == "carnet" else plain
                    await filling.send(bench.operator, consumer.queue, batch)
                    await filling.wait_until_empty(bench.operator, consumer.queue)
                    fields = ("VmRSS", "VmHWM", "RssAnon")
                    held[name].append((rest, *(memory(consumer.pid, each) for each in fields)))
    table = Table("MiB", *COLUMNS, title="memory", title_justify="left")
    for name, found in held.items():
        figures = [median(each) / MIB for each in zip(*found, strict=True)]
        table.add_row(name, *(f"{figure:.0f}" for figure in figures))
        owner = "" if name == "carnet" else f"{name}_"
        bench.record(
            {f"memory.{owner}{what}_mib": of for what, of in zip(COLUMNS, figures, strict=True)}
        )
        bench.record({f"memory.{owner}consumer_mib": max(figures[:2])})
    bench.console.print(table)
