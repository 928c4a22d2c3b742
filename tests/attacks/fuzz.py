"""Sends noise to a running order service, or to the verifier alone, and counts what is handled.

    python -m tests.attacks.fuzz [--count N] [--seconds S] [--seed N] [--verifier]

Goes on where it was stopped: `.fuzz.json` keeps the seed and how far it came.
"""

import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer
import uvloop
from rich.console import Console

from auth.errors import RefusalError
from tests.attacks.field import Field, open_field
from tests.attacks.noise import message
from tests.auth.forge import command_scene
from tests.brokers import Brokers

BATCH: Final = 500
REPORT: Final = 20_000
"""Messages between two lines of progress."""
console: Final = Console()


@dataclass
class Progress:
    """How far a run has come; `path` keeps it for the next one."""

    seed: int
    done: int = 0

    @classmethod
    def read(cls, path: Path, seed: int) -> "Progress":
        if path.exists() and (kept := cls(**json.loads(path.read_text()))).seed == seed:
            return kept
        return cls(seed)

    def keep(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


class HandledError(AssertionError):
    """A message that nobody sealed has had an effect."""


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def send_batch(field: Field, seed: int, numbers: range) -> None:
    """Send noise and wait until each piece of it is a dead letter.

    Raises:
        HandledError: one of them was handled.
        TimeoutError: the consumer has stopped, or one was lost.
    """
    await asyncio.gather(*(field.send(message(seed, number)) for number in numbers))
    for _ in numbers:
        await field.next_dead_letter()
    if field.runs.done() or any((await field.rows()).values()):
        raise HandledError(f"one of {numbers} of seed {seed}")


def judge_batch(seed: int, numbers: range) -> None:
    """Have the verifier judge noise.

    Raises:
        HandledError: it took one for genuine.
    """
    scene = command_scene()
    for number in numbers:
        try:
            scene.judge_message(message(seed, number))
        except RefusalError:
            continue
        raise HandledError(f"{number} of seed {seed}")


class _Run:
    def __init__(self, path: Path, seed: int, count: int, seconds: float) -> None:
        self.path = path
        self.progress = Progress.read(path, seed)
        self.count = count
        self.begin = self.progress.done
        self.started = time.monotonic()
        self.until = self.started + seconds
        self.memory = resident()

    def next(self) -> range | None:
        """The numbers to send now."""
        done = self.progress.done
        if done >= self.count or time.monotonic() > self.until:
            return None
        return range(done, min(done + BATCH, self.count))

    def took(self, numbers: range) -> None:
        self.progress.done = numbers.stop
        self.progress.keep(self.path)
        if numbers.stop % REPORT == 0:
            self.say()

    def say(self) -> None:
        done = self.progress.done - self.begin
        rate = done / (time.monotonic() - self.started)
        console.print(
            f"{self.progress.done:,} of {self.count:,}: {rate:,.0f}/s, handled 0, "
            f"memory {self.memory:.0f} MiB at first, {resident():.0f} MiB now",
            highlight=False,
        )


async def _through_the_broker(run: _Run) -> None:
    with TemporaryDirectory() as folder:
        brokers = Brokers(Path(folder))
        try:
            broker = await brokers.any()
            async with (
                broker.fresh_vhost() as vhost,
                open_field(broker.url(vhost), Path(folder)) as field,
            ):
                while (numbers := run.next()) is not None:
                    await send_batch(field, run.progress.seed, numbers)
                    run.took(numbers)
                await field.still_places_orders()
        finally:
            await brokers.close()


def fuzz(
    count: Annotated[int, typer.Option(min=1)] = 1_000_000,
    seconds: Annotated[float, typer.Option(min=1)] = 24 * 3600,
    seed: int = 1,
    progress: Path = Path(".fuzz.json"),
    verifier: Annotated[bool, typer.Option("--verifier", help="Without a broker.")] = False,  # noqa: FBT002 - typer
) -> None:
    """Send COUNT messages that nobody sealed; fail if one is handled."""
    run = _Run(progress, seed, count, seconds)
    if verifier:
        while (numbers := run.next()) is not None:
            judge_batch(seed, numbers)
            run.took(numbers)
    else:
        uvloop.run(_through_the_broker(run))
    run.say()


if __name__ == "__main__":
    typer.run(fuzz)
