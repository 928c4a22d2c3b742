"""The life of a service's process: settings, signals, one clear line when it cannot go on."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import NoReturn, TypeVar

import structlog
import uvloop

from services.failure import KNOWN_ERRORS, fail
from services.logs import configure_logging
from services.settings import ProcessSettings, read_settings

S = TypeVar("S", bound=ProcessSettings)


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
        keep_what_is_imported()
        uvloop.run(_until_signalled(settings, serve))
    except* KNOWN_ERRORS as group:
        failure = _first(group)
    if failure is not None:
        fail(name, failure)
    sys.exit(0)


def keep_what_is_imported() -> None:
    """Have no collection of garbage look at it: some 100,000 objects, for 100 ms each time."""
    gc.freeze()


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
