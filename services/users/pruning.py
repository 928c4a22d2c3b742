"""Forgets what can matter no more: sessions past their life, revocations that hit nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from messaging.errors import DatabaseUnavailableError
from messaging.pause import first_of

EVERY: Final = 60.0
"""Seconds between two rounds."""

log = structlog.get_logger(__name__)


async def prune(forget: Sequence[Callable[[], Awaitable[None]]], shutdown: asyncio.Event) -> None:
    """Let each forget, now and every minute, until `shutdown`."""
    while not shutdown.is_set():
        try:
            for part in forget:
                await part()
        except DatabaseUnavailableError as error:
            log.warning("pruning_waits", code=error.code, detail=error.detail)
        await first_of(shutdown, timeout=EVERY)
