"""Runs programs side by side: in turn, for several rounds, each a process of its own.

async def run(bench: Bench) -> None:              # of a module in benchmarks/cases/
    runs = await bench.side_by_side("case", {"one": run_one, "other": run_other})
    bench.ratio("case.one_over_other", runs["one"], runs["other"])
"""

import asyncio
import importlib.util
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import filling, letters, results
from benchmarks.contender import JOB, PREFETCH, READY, Job, Run
from benchmarks.letters import Keys, Letter
from benchmarks.node import Lane
from benchmarks.processes import processor_time_of_all
from services.local import leash
from services.local.logins import OPERATOR
from tests.databases import Postgres
from tests.engine import UnavailableError

LONGER: Final = 3
"""So many times as many messages as other runs have those of which little is to be told apart, or
whose beginning would be a part of the figure."""
RUN_WITHIN: Final = 600.0
END_WITHIN: Final = 30.0

Contender = Callable[[], Awaitable[Run]]


class ContenderError(Exception):
    """A program did not do its job; the text says what it said last."""


@dataclass(frozen=True, slots=True)
class Settings:
    """rounds: of which medians are taken.   messages: of one run.   users: who order over HTTP.

    sessions, revocations, keys, depth, body, workers: the largest of what grows.
    lanes: cases that run at the same time; with more than one, figures mean nothing.
    """

    rounds: int = 5
    messages: int = 5_000
    users: int = 10
    sessions: int = 100_000
    revocations: int = 100_000
    keys: int = 50
    depth: int = 1_000_000
    body: int = 200_000
    workers: int = 4
    lanes: int = 1
    quick: bool = False

    @property
    def longer(self) -> int:
        """Messages of a long run."""
        return self.messages if self.quick else LONGER * self.messages


QUICK: Final = Settings(
    rounds=1,
    messages=100,
    users=1,
    sessions=300,
    revocations=10_000,
    keys=5,
    depth=2_000,
    body=20_000,
    workers=2,
    lanes=2,
    quick=True,
)


@dataclass(slots=True)
class Bench:
    """One run of the benchmarks: broker, keys, settings, and where figures go.

    state: a folder that is thrown away, with the keys of all services.
    """

    state: Path
    broker: Lane
    settings: Settings
    results: Path
    postgres: Postgres
    console: Console = field(default_factory=Console)
    _made: dict[tuple[Any, ...], list[Letter]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=count)

    @property
    def operator(self) -> str:
        """The URL of a login that may do anything."""
        return self.broker.url(OPERATOR)

    @property
    def keys(self) -> Keys:
        return Keys(self.state)

    def fresh_path(self, name: str) -> Path:
        """A path where nothing is yet."""
        return self.state / f"{next(self._numbers)}-{name}"

    def sqlite(self) -> str:
        """The URL of an SQLite database that is not there yet."""
        return f"sqlite+aiosqlite:///{self.fresh_path('bench.db')}"

    async def has_postgres(self) -> bool:
        """Whether a PostgreSQL can be had; says so if not."""
        try:
            async with self.postgres.fresh_database():
                return True
        except UnavailableError as error:
            self.left_out("PostgreSQL", str(error))
            return False

    async def letters(
        self,
        count: int,
        *,
        sessions: int,
        body_size: int = 0,
        keys: Keys | None = None,
    ) -> list[Letter]:
        """Sealed orders, made once for each case."""
        what = (count, sessions, body_size, keys)
        if what not in self._made:
            self.say(f"making {count:,} messages of {sessions:,} sessions")
            self._made[what] = await letters.make(
                keys or self.keys, count, sessions=sessions, body_size=body_size
            )
        return self._made[what]

    def forget_letters(self) -> None:
        """Free what was made for a case."""
        self._made.clear()

    async def side_by_side(
        self, case: str, contenders: Mapping[str, Contender]
    ) -> dict[str, list[Run]]:
        """Run all of them in turn, round by round, each round beginning with another one."""
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        names = list(contenders)
        for number in range(self.settings.rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                runs[name].append(await contenders[name]())
                self.say(f"{case}, round {number + 1}: {name} {runs[name][-1].per_s:,.0f}/s")
        for name, of_one in runs.items():
            self.record(
                {
                    f"{case}.{name}_per_s": median(run.per_s for run in of_one),
                    f"{case}.{name}_cpu_us": median(run.cpu_us for run in of_one),
                    f"{case}.{name}_mib": median(run.mib for run in of_one),
                }
            )
            if spent := _broker_us(of_one):
                self.record({f"{case}.{name}_broker_us": median(spent)})
        self.console.print(_table(case, runs))
        return runs

    def ratio(self, name: str, over: Sequence[Run], under: Sequence[Run]) -> None:
        """Record the median of the rounds' ratios: in a round, both met the same machine."""
        rounds = zip(over, under, strict=True)
        self.record({name: median(one.per_s / other.per_s for one, other in rounds)})

    def record(self, figures: Mapping[str, float]) -> None:
        results.record(figures, self.results)

    def say(self, line: str) -> None:
        self.console.print(line, style="dim", highlight=False)

    def left_out(self, what: str, why: str) -> None:
        """Say what is not measured here."""
        self.console.print(f"left out: {what}: {why}", style="yellow")

    async def consumer(
        self, module: str, login: str, queue: str, batch: Sequence[Letter], **options: Any
    ) -> Run:
        """Fill a queue, and have a program consume all of it.

        Raises:
            ContenderError: it failed, or left something behind.
        """
        await filling.fill(self.operator, queue, batch)
        job = Job(self.broker.url(login), queue, len(batch), options)
        run = await self.run_program(module, job)
        await self.check_taken(module, queue)
        return run

    async def check_taken(self, name: str, queue: str) -> None:
        """Make sure that what lay in a queue was acknowledged; the queue is empty then.

        Up to as many may be left as are prefetched: a quorum queue gives back what was acknowledged
        on a channel that is closed before its replicas have heard of it.

        Raises:
            ContenderError: more are left.
        """
        if (left := await filling.purge(self.operator, queue)) > PREFETCH:
            raise ContenderError(f"{name} has left {left} messages in {queue}")

    def ours(self, **options: Any) -> dict[str, Any]:
        """The options of a program of Carnet's own: its keys, and an empty database."""
        keys = {"state": str(self.state), "statement": "key-set.jwt"}
        return {**keys, "database": self.sqlite(), **options}

    def broker_time(self) -> float | None:
        """Seconds of processor time that the broker has used; None where that cannot be had."""
        return None if self.broker.pid is None else processor_time_of_all(self.broker.pid)

    def log_of(self, module: str) -> Path:
        """Where a program's complaints go."""
        return self.state / f"{module}.log"

    async def run_program(self, module: str, job: Job, *, arguments: Sequence[str] = ()) -> Run:
        """Run it to its end; what it reported, and what the broker spent meanwhile.

        Raises:
            ContenderError: it reported nothing, failed, or did not end in time.
        """
        log, before = self.log_of(module), self.broker_time()
        try:
            async with asyncio.timeout(RUN_WITHIN):
                async with program(module, job, log=log, arguments=arguments) as process:
                    if (said := await next_line(process)) == READY:
                        before = self.broker_time()
                        go(process)
                        said = await next_line(process)
                    after = self.broker_time()
                    status = await process.wait()
        except TimeoutError as error:
            raise ContenderError(f"{module} did not end in time; see {log}") from error
        if not said or status:
            raise ContenderError(f"{module} failed ({status}): {_last_line(log)}")
        return read_run(said).with_broker(before, after)

    async def run_together(
        self, module: str, job: Job, workers: int, *, done: Callable[[], Awaitable[None]]
    ) -> Run:
        """As many of one program as there are workers, until `done` returns; all of them as one.

        Raises:
            ContenderError: one of them failed, or they did not end in time.
        """
        log = self.log_of(module)
        async with asyncio.timeout(RUN_WITHIN), AsyncExitStack() as running:
            processes = [
                await running.enter_async_context(program(module, job, log=log))
                for _ in range(workers)
            ]
            if any([await next_line(process) != READY for process in processes]):
                raise ContenderError(f"{module} failed: {_last_line(log)}")
            before = self.broker_time()
            for process in processes:
                go(process)
            await done()
            after = self.broker_time()
            for process in processes:
                process.terminate()
            said = [await next_line(process) for process in processes]
        if not all(said):
            raise ContenderError(f"{module} failed: {_last_line(log)}")
        runs = [read_run(line) for line in said]
        together = Run(
            handled=sum(run.handled for run in runs),
            began=min(run.began for run in runs),
            ended=max(run.ended for run in runs),
            cpu=sum(run.cpu for run in runs),
            peak=max(run.peak for run in runs),
        )
        return together.with_broker(before, after)


def missing(*modules: str) -> str | None:
    """The first of the modules that is not installed."""
    return next((name for name in modules if importlib.util.find_spec(name) is None), None)


@asynccontextmanager
async def program(
    module: str, job: Job, *, log: Path, arguments: Sequence[str] = ()
) -> AsyncIterator[Process]:
    """`python -m module` with its job; ended at the end if it still runs."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", leash.__file__, str(os.getpid())),
            *(sys.executable, "-m", module, *arguments),
            env={**os.environ, JOB: job.to_json()},
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def go(process: Process) -> None:
    """Let a program begin that has said that it is ready."""
    if process.stdin is not None:
        process.stdin.write(b"go\n")


async def next_line(process: Process) -> str:
    """`READY` or a report, whichever it says next; nothing once it has ended.

    What else it says, a peer's banner, is passed over.
    """
    if process.stdout is None:
        return ""
    while line := (await process.stdout.readline()).decode():
        if line.strip() == READY or line.startswith("{"):
            return line.strip()
    return ""


def read_run(line: str) -> Run:
    return Run(**json.loads(line))


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "(it wrote nothing)"


def _table(case: str, runs: Mapping[str, Sequence[Run]]) -> Table:
    table = Table("contender", title=case, title_justify="left")
    for column in ("messages/s", "lowest", "highest", "µs CPU", "broker's", "MiB peak"):
        table.add_column(column, justify="right")
    for name, of_one in runs.items():
        speeds, spent = [run.per_s for run in of_one], _broker_us(of_one)
        table.add_row(
            name,
            *(f"{speed:,.0f}" for speed in (median(speeds), min(speeds), max(speeds))),
            f"{median(run.cpu_us for run in of_one):,.0f}",
            f"{median(spent):,.0f}" if spent else "",
            f"{median(run.mib for run in of_one):,.0f}",
        )
    return table


def _broker_us(runs: Sequence[Run]) -> list[float]:
    """What each message cost the broker, round by round; empty where that cannot be had."""
    return [run.broker_us for run in runs if run.broker_us is not None]
