"""Plays chaos and audits it: `python -m tests.chaos --seed 1 --orders 10000 --faults 40`.

One act on PostgreSQL with two processes of each service, one on SQLite with one of each, and one
on a cluster of three brokers: the first and the last where a container engine is there. Each kind
of fault that these have strikes in one of them at least.
"""

import asyncio
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
from rich.console import Console

from tests.chaos.play import Act, play
from tests.chaos.report import show, summary
from tests.chaos.scenes import SCENES, Scene
from tests.chaos.schedule import plan
from tests.engine import UnavailableError, require_image


def scenes_here() -> list[Scene]:
    """The scenes that can be set on this machine."""
    scenes: list[Scene] = []
    for scene, scenery in SCENES.items():
        try:
            if scenery.image is not None:
                require_image(scenery.image)
        except UnavailableError as error:
            sys.stderr.write(f"chaos: no act on {scene} ({error}), nor the faults it alone has\n")
        else:
            scenes.append(scene)
    return scenes


async def _play_all(
    folder: Path, scenes: list[Scene], *, seed: int, orders: int, faults: int, rate: float
) -> list[Act]:
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"chaos {time.monotonic() - began:6.1f} s  {line}\n")

    acts = []
    for scene, moments in plan(seed, scenes, faults).items():
        share = -(-orders // len(scenes))
        state = folder / scene
        act = await play(state, scene, moments, seed=seed, orders=share, rate=rate, say=say)
        say(f"{scene}: {summary([act])}")
        acts.append(act)
    return acts


def chaos(
    *,
    seed: Annotated[int | None, typer.Option(help="Drawn and printed where none is given.")] = None,
    orders: Annotated[int, typer.Option(min=1)] = 10_000,
    faults: Annotated[int, typer.Option(min=0)] = 36,
    rate: Annotated[float, typer.Option(min=0.1, help="Orders begun in a second, at most.")] = 25,
    on: Annotated[
        list[str] | None, typer.Option(help="postgres, sqlite, cluster; all by default.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep logs and results in this folder.")] = None,
) -> None:
    """Break everything under load, and see that nothing was lost and nothing done twice."""
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    sys.stderr.write(f"chaos: seed {seed}\n")
    # Not the harness's own view of a broker that it killed.
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    scenes = [scene for scene in scenes_here() if not on or scene in on]
    with tempfile.TemporaryDirectory(prefix="carnet-chaos-") as folder:
        state = Path(folder) if keep is None else keep
        # Asked to end, it puts everything right first, as on Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        acts = asyncio.run(
            _play_all(state, scenes, seed=seed, orders=orders, faults=faults, rate=rate)
        )
    sys.exit(show(Console(), seed, acts))


if __name__ == "__main__":
    typer.run(chaos)
