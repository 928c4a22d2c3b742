"""The life of a service's process: settings, signals, one clear line when it cannot go on."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Final, NoReturn, TypeVar

import structlog
import uvloop

from services.failure import KNOWN_ERRORS, fail
from services.logs import configure_logging
from services.settings import ProcessSettings, read_settings

S = TypeVar("S", bound=ProcessSettings)

NEW_OBJECTS: Final = 10_000
"""Objects that are made and not freed between two looks for garbage: some 2 MiB."""


def run_service(
    name: str, kind: type[S], serve: Callable[[S, asyncio.Event], Coroutine[None, None, None]]
) -> NoReturn:
    """Read the settings and run `serve(settings, shutdown)` to its end; then exit.

    SIGTERM and SIGINT set `shutdown`; `serve` then drains and returns. What it cannot cope
    with ends in one line on standard error and a non-zero exit, without a stack trace.
    """
    failure: BaseException | None = None
    try:
        settings = read_settings(kind)
        configure_logging(service=name, log_format=settings.log_format, level=settings.log_level)
        collect_rarely()
        uvloop.run(_until_signalled(settings, serve))
    except* KNOWN_ERRORS as group:
        failure = _first(group)
    if failure is not None:
        fail(name, failure)
    sys.exit(0)


def collect_rarely() -> None:
    """Have garbage looked for among what is new, and not after every 700 objects.

    What is imported, some 100,000 objects, stays. Each look goes over all that is under way, some
    400 messages at a time, and finds next to nothing: what ends is freed at once, but for cycles.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


def _first(error: BaseException) -> BaseException:
    """The first of the errors that ended a task group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_signalled(
    settings: S, serve: Callable[[S, asyncio.Event], Coroutine[None, None, None]]
) -> None:
    shutdown = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.set)
    await serve(settings, shutdown)
    structlog.get_logger().info("stopped")
