"""Plays chaos and audits it: `python -m tests.chaos --seed 1 --orders 10000 --faults 40`.

One act on PostgreSQL with two processes of each service, where a container engine is there, and
one on SQLite with one of each; each kind of fault strikes in one of them at least.
"""

import logging
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop
from rich.console import Console

from tests.chaos.databases import Kind
from tests.chaos.play import Act, play
from tests.chaos.report import show, summary
from tests.chaos.schedule import plan
from tests.engine import POSTGRES_IMAGE, UnavailableError, require_image


def kinds_here() -> list[Kind]:
    """The kinds of database that can be had on this machine."""
    try:
        require_image(POSTGRES_IMAGE)
    except UnavailableError as error:
        sys.stderr.write(f"chaos: no PostgreSQL ({error}): all is played on SQLite\n")
        return ["sqlite"]
    return ["postgres", "sqlite"]


async def _play_all(
    folder: Path, kinds: list[Kind], *, seed: int, orders: int, faults: int, rate: float
) -> list[Act]:
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"chaos {time.monotonic() - began:6.1f} s  {line}\n")

    acts = []
    for kind, moments in plan(seed, kinds, faults).items():
        share = -(-orders // len(kinds))
        state = folder / kind
        act = await play(state, kind, moments, seed=seed, orders=share, rate=rate, say=say)
        say(f"{kind}: {summary([act])}")
        acts.append(act)
    return acts


def chaos(
    *,
    seed: Annotated[int | None, typer.Option(help="Drawn and printed where none is given.")] = None,
    orders: Annotated[int, typer.Option(min=1)] = 10_000,
    faults: Annotated[int, typer.Option(min=0)] = 36,
    rate: Annotated[float, typer.Option(min=0.1, help="Orders begun in a second, at most.")] = 25,
    on: Annotated[list[str] | None, typer.Option(help="postgres, sqlite; both by default.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep logs and results in this folder.")] = None,
) -> None:
    """Break everything under load, and see that nothing was lost and nothing done twice."""
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    sys.stderr.write(f"chaos: seed {seed}\n")
    # Not the harness's own view of a broker that it killed.
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    kinds: list[Kind] = [k for k in kinds_here() if not on or k in on]
    with tempfile.TemporaryDirectory(prefix="carnet-chaos-") as folder:
        state = Path(folder) if keep is None else keep
        # Asked to end, it puts everything right first, as on Ctrl-C.
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        acts = uvloop.run(
            _play_all(state, kinds, seed=seed, orders=orders, faults=faults, rate=rate)
        )
    sys.exit(show(Console(), seed, acts))


if __name__ == "__main__":
    typer.run(chaos)
