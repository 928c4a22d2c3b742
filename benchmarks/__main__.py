"""Everything side by side in one run: `python -m benchmarks [--quick] [--only CASE]`.

Each module in `benchmarks/cases/` is a case. They run on one private RabbitMQ node (or container),
one after the other (in quick mode two at once); figures go to `benchmarks/results.json`, tables to
the terminal. `benchmarks.report` makes `docs/performance.md` of them.
"""

import asyncio
import importlib
import os
import pkgutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import uvloop

from benchmarks import cases, results
from benchmarks.harness import QUICK, Bench, Settings
from benchmarks.node import Lane, lanes
from services.local.trust import make_local_trust
from services.logs import configure_logging
from tests.databases import Postgres

QUICK_RESULTS: Final = Path("build", "bench-quick.json")
FIRST: Final = ("consume", "publish", "store", "growth", "rpc", "system")
"""In this order; the long ones come early, so that two lanes end together."""

CASES: Final = sorted(
    (module.name for module in pkgutil.iter_modules(cases.__path__)),
    key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name),
)


async def measure(only: list[str], settings: Settings, path: Path) -> None:
    """Run the cases: one after the other, or as many at once as there are lanes."""
    names, postgres = iter(only or CASES), Postgres()

    async def run(lane: Lane, state: Path) -> None:
        await asyncio.to_thread(state.mkdir)
        await asyncio.to_thread(make_local_trust, state, None)
        bench = Bench(state, lane, settings, path, postgres)
        for name in names:  # the next that no lane has begun
            await importlib.import_module(f"benchmarks.cases.{name}").run(bench)
            bench.forget_letters()

    with tempfile.TemporaryDirectory(prefix="carnet-bench-") as folder:
        async with lanes(Path(folder, "broker"), settings.lanes) as found:
            print(f"on {found[0].description}")
            try:
                async with asyncio.TaskGroup() as running:
                    for number, lane in enumerate(found):
                        running.create_task(run(lane, Path(folder, f"lane-{number}")))
            finally:
                await postgres.close()


def main(
    *,
    quick: Annotated[bool, typer.Option(help="A look at whether it works; no figures")] = False,
    only: Annotated[list[str] | None, typer.Option(help=f"Of: {', '.join(CASES)}")] = None,
    rounds: Annotated[int | None, typer.Option(min=1)] = None,
    messages: Annotated[int | None, typer.Option(min=100, help="Of one run")] = None,
    sessions: Annotated[int | None, typer.Option(min=100, help="To grow to")] = None,
    depth: Annotated[int | None, typer.Option(min=100, help="To grow to")] = None,
    results_path: Annotated[Path | None, typer.Option("--results")] = None,
) -> None:
    """Measure, print, and add to the results."""
    if unknown := set(only or ()) - set(CASES):
        raise typer.BadParameter(f"no case is named {', '.join(sorted(unknown))}")
    given: dict[str, Any] = {
        "rounds": rounds,
        "messages": messages,
        "sessions": sessions,
        "depth": depth,
    }
    settings = replace(
        QUICK if quick else Settings(), **{k: v for k, v in given.items() if v is not None}
    )
    configure_logging(service="bench", log_format="console", level="error")
    # What is measured was compiled before, as it is where it is deployed.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    path = results_path or (QUICK_RESULTS if quick else results.RESULTS)
    uvloop.run(measure(only or [], settings, path))


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
