"""What a program under measurement is told, and what it reports: of itself, in one line of JSON.

The job comes in the environment (`CARNET_BENCH_JOB`), so that a peer's own command line stays as
its documentation has it. A peer's clock runs from the first message handled to the last one. That
of Carnet's own programs starts earlier, when they ask for messages, and stops later, when the last
one is committed.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from benchmarks import processes

JOB: Final = "CARNET_BENCH_JOB"
READY: Final = "ready"
PREFETCH: Final = 1_000
"""Deliveries that the broker hands over ahead, to everybody alike: our own default."""


@dataclass(frozen=True, slots=True)
class Job:
    """url: of the broker.   queue: what to consume from.   count: messages; 0 is until SIGTERM.

    options: what this program needs besides.
    """

    url: str
    queue: str
    count: int
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Self:
        return cls(**json.loads(os.environ[JOB]))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Run:
    """What one program measured of itself.

    began, ended: seconds of the monotonic clock, which all processes share.
    cpu: seconds of processor time in between, all threads, and the processes beside it.
    peak: most resident memory of all these processes so far, in bytes.
    broker: seconds of the broker's processor time meanwhile; None where that cannot be had, or it
        takes no part.
    """

    handled: int
    began: float
    ended: float
    cpu: float
    peak: int
    broker: float | None = None

    @property
    def per_s(self) -> float:
        return self.handled / (self.ended - self.began)

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for each message."""
        return self.cpu / max(self.handled, 1) * 1e6

    @property
    def broker_us(self) -> float | None:
        """Microseconds of the broker's processor time for each message."""
        return None if self.broker is None else self.broker / max(self.handled, 1) * 1e6

    def with_broker(self, before: float | None, after: float | None) -> Self:
        """The same, with what the broker had used before and after it."""
        spent = None if before is None or after is None else after - before
        return replace(self, broker=spent)

    @property
    def mib(self) -> float:
        return self.peak / 2**20


class Meter:
    """Counts what a program has handled, and times it."""

    def __init__(self, count: int) -> None:
        self.handled = 0
        self._count = count
        self._began = self._ended = 0.0
        self._cpu_before = self._cpu_after = 0.0

    def begin(self) -> None:
        """Start the clock; the first `tick` does, where nobody has."""
        self._began, self._cpu_before = time.monotonic(), processor_time()
        self._ended, self._cpu_after = self._began, self._cpu_before

    def tick(self) -> bool:
        """One more was handled; whether it was the last."""
        if not self._began:
            self.begin()
        self.handled += 1
        return self.handled == self._count

    def end(self) -> None:
        """Stop the clock."""
        self.stop()
        self.count_processor_time()

    def stop(self) -> None:
        """Stop the clock, which may go on: the processor's, which takes long to read, does."""
        self._ended = time.monotonic()

    def count_processor_time(self) -> None:
        """Up to now."""
        self._cpu_after = processor_time()

    def report(self) -> None:
        """Print what was measured."""
        cpu = self._cpu_after - self._cpu_before
        run = Run(self.handled, self._began, self._ended, cpu, peak_memory())
        print(json.dumps(asdict(run)), flush=True)


def processor_time() -> float:
    """Seconds of processor time so far, of this process and of those that it has started."""
    beside = processes.children(os.getpid())
    return time.process_time() + sum(map(processes.processor_time_of_all, beside))


def peak_memory() -> int:
    """Most resident memory so far, in bytes, as `processor_time`.

    Not `ru_maxrss`: that one begins with what the parent had when it forked.
    """
    own = os.getpid()
    return sum(map(processes.peak_memory, [own, *processes.children(own)]))


def wait_for_go() -> None:
    """Say that everything is set up, and wait until the harness lets all of them begin."""
    print(READY, flush=True)
    sys.stdin.readline()
