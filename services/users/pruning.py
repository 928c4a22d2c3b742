"""Forgets what can matter no more: sessions past their life, assertions past their end."""

import asyncio
from typing import Final

import structlog

from messaging.errors import DatabaseUnavailableError
from messaging.pause import first_of
from services.users.assertions import Assertions
from services.users.sessions import Sessions

EVERY: Final = 3600.0
"""Seconds between two rounds."""

log = structlog.get_logger(__name__)


async def prune(sessions: Sessions, assertions: Assertions, shutdown: asyncio.Event) -> None:
    """Prune now and every hour, until `shutdown`."""
    while not shutdown.is_set():
        try:
            await sessions.prune()
            await assertions.prune()
        except DatabaseUnavailableError as error:
            log.warning("pruning_waits", code=error.code, detail=error.detail)
        await first_of(shutdown, timeout=EVERY)
