"""What every process tells of itself: memory, processor time, its event loop, and its checks."""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from messaging.metrics import Histogram, Metrics

EVERY: Final = 0.5
"""Seconds between two looks at whether the loop comes when it is asked to."""

LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_STATM: Final = Path("/proc/self/statm")
_FDS: Final = Path("/proc/self/fd")


def watch_process(metrics: Metrics) -> None:
    """The figures that Prometheus' own libraries give for a process, under their names."""
    started = time.time()
    metrics.counted(
        "process_cpu_seconds_total", "Processor time that the process has taken, in seconds."
    ).of().follow(time.process_time)
    metrics.gauge(
        "process_resident_memory_bytes", "Memory of the process that is resident."
    ).of().follow(_resident)
    metrics.gauge("process_open_fds", "File descriptors that the process holds open.").of().follow(
        _open_files
    )
    metrics.gauge(
        "process_start_time_seconds", "When the process began, since the epoch."
    ).of().follow(lambda: started)


def watch_loop(metrics: Metrics) -> None:
    """How late the running event loop is, looked at twice a second for as long as it runs."""
    lag = metrics.histogram(
        "carnet_event_loop_lag_seconds",
        "How much later than asked for the event loop came, twice a second.",
        bounds=LAG,
    ).of()
    _look_after(asyncio.get_running_loop(), lag)


def _look_after(loop: asyncio.AbstractEventLoop, lag: Histogram) -> None:
    due = loop.time() + EVERY

    def look() -> None:
        lag.observe(loop.time() - due)
        _look_after(loop, lag)

    loop.call_at(due, look)


def watch_checks(metrics: Metrics, checks: Mapping[str, Callable[[], bool]]) -> None:
    """What `/health/ready` says."""
    ready = metrics.gauge(
        "carnet_ready", "Whether a check of /health/ready holds: 1, or else 0.", labels=("check",)
    )
    for name, check in checks.items():
        ready.of(name).follow(partial(_verdict, check))


def _verdict(check: Callable[[], bool]) -> float:
    return float(check())


def _resident() -> float | None:
    """Bytes; None where the system does not tell (not Linux)."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * resource.getpagesize()


def _open_files() -> float | None:
    try:
        return len(os.listdir(_FDS))  # noqa: PTH208 - names are enough
    except OSError:
        return None


def python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))
