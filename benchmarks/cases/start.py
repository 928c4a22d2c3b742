"""Start: seconds from a process's start until it consumes, everything compiled before.

Carnet reads keys and settings, looks at its database, checks broker, clock and topology, and waits
for a snapshot of all revocations; the peers connect and consume.
"""

from collections import defaultdict
from statistics import median
from typing import Final

from rich.table import Table

from benchmarks import standing
from benchmarks.harness import Bench
from services.local.stack import LocalStack

NAMES: Final = {"carnet": "start.carnet_ready_s"}


async def run(bench: Bench) -> None:
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    spent: defaultdict[str, list[float]] = defaultdict(list)
    async with LocalStack(bench.state, broker=bench.broker, only=["users"]) as stack:
        starters = standing.starters(bench, stack)
        if not bench.settings.quick:
            for start in starters.values():
                async with start():
                    """Compiled now, and its database made: nothing of that is measured."""
        for number in range(bench.settings.rounds):
            for name, start in starters.items():
                async with start() as consumer:
                    seconds[name].append(consumer.seconds)
                    spent[name].append(consumer.cpu)
                    bench.say(f"start, round {number + 1}: {name} {consumer.seconds:.2f} s")
    table = Table("contender", "s", "lowest", "highest", "s CPU", title="start")
    for name, each in seconds.items():
        cpu = median(spent[name])
        bench.record({NAMES.get(name, f"start.{name}_s"): median(each), f"start.{name}_cpu_s": cpu})
        figures = (median(each), min(each), max(each), cpu)
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    bench.console.print(table)
