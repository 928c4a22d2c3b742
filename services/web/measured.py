"""Metrics and health on a port of their own: they are not the public's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from messaging.metrics import Metrics
from services.health import Checks, HealthServer
from services.web.settings import WebSettings


@asynccontextmanager
async def measured(settings: WebSettings, checks: Checks, metrics: Metrics) -> AsyncIterator[None]:
    """Answer for them there, if such a port is set.

    Raises:
        PortTakenError: the address cannot be bound.
    """
    if settings.metrics_port is None:
        yield
        return
    server = HealthServer(
        checks,
        metrics=metrics,
        host=settings.metrics_host,
        port=settings.metrics_port,
        setting="CARNET_METRICS_PORT",
    )
    await server.start()
    try:
        yield
    finally:
        await server.stop()
