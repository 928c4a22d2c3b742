"""Looks at the services every two seconds, for as long as the console runs; keeps what it saw."""

import asyncio
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx
import structlog

from messaging.errors import MessagingError
from messaging.pause import first_of
from messaging.telemetry import Telemetry
from services.console.queues import Queues
from services.health import readiness
from services.operations.queues import Counted
from services.operations.rates import EVERY, WANTED, Rates
from services.operations.watching import (
    DEADLINE,
    OF_STANDING,
    Look,
    Watch,
    http_client,
    look_at,
)
from services.telemetry.exposition import exposition
from services.telemetry.reading import read_exposition

ITSELF: Final = "console"

log = structlog.get_logger(__name__)


class Watching:
    """What was seen of the services at last, and what happened since before."""

    def __init__(
        self,
        watches: tuple[Watch, ...],
        queues: Queues,
        *,
        telemetry: Telemetry,
        checks: Mapping[str, Callable[[], bool]],
        clock: Callable[[], float],
    ) -> None:
        """telemetry, checks: the console's own, which is a party as well."""
        self._watches = watches
        self._queues = queues
        self._telemetry = telemetry
        self._checks = checks
        self._looks: list[Look] = []
        self.rates = Rates(clock)

    async def run(self, shutdown: asyncio.Event) -> None:
        """Look, until `shutdown`."""
        async with http_client() as http:
            while not shutdown.is_set():
                began = time.monotonic()
                await self._look(http)
                left = EVERY - (time.monotonic() - began)
                await first_of(shutdown, timeout=max(left, 0.0))

    async def parties(self) -> list[dict[str, Any]]:
        """How each stands, ourselves as of now, the others as of the last look."""
        looks = self._looks or [
            Look(watch.name, 0.0, error="not looked at yet") for watch in self._watches
        ]
        return [look.as_party() for look in (*looks, await self._itself())]

    async def _look(self, http: httpx.AsyncClient) -> None:
        self._looks, counts = await asyncio.gather(
            look_at(http, self._watches, WANTED), self._count()
        )
        self.rates.add(self._looks, counts)

    async def _count(self) -> list[Counted]:
        try:
            return await self._queues.count_for_rates(deadline=DEADLINE)
        except MessagingError as error:
            log.debug("queues_not_counted", detail=error.detail)
            return []

    async def _itself(self) -> Look:
        status, said = readiness(self._checks)
        numbers = read_exposition(await exposition(self._telemetry.metrics), OF_STANDING)
        return Look(
            ITSELF,
            time.monotonic(),
            ready=status == HTTPStatus.OK,
            checks=said["checks"],
            numbers=numbers,
        )
