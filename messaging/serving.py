"""A bounded number of workers on one subscription, and how they stop: finish, give back, close."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

import structlog

from messaging.delivery import Delivery
from messaging.pause import first_of
from messaging.subscription import Subscription
from messaging.subscriptions import Subscriptions

PAUSE: Final = 1.0
"""Seconds before a delivery is given back that we could not cope with."""

CANCEL: Final = 5.0
"""Seconds for what was cut short to be undone."""

log = structlog.get_logger(__name__)


async def serve(
    subscription: Subscription,
    handle: Callable[[Delivery], Awaitable[None]],
    *,
    concurrency: int,
    drain: float,
    shutdown: asyncio.Event,
) -> None:
    """Hand each delivery to `handle`, at most `concurrency` at once, until `shutdown`.

    Then as `serve_with`.
    """
    workers = [_work(subscription, handle, shutdown) for _ in range(concurrency)]
    await serve_with(subscription, workers, drain=drain, shutdown=shutdown)


async def serve_with(
    subscription: Subscription | Subscriptions,
    workers: Iterable[Coroutine[Any, Any, None]],
    *,
    drain: float,
    shutdown: asyncio.Event,
) -> None:
    """Keep the subscription up for its workers, each of which ends when there is no more for it.

    On `shutdown` no more is asked for, what runs may finish within `drain` seconds, and the rest
    is given back in the order in which it came.
    """
    keeper = asyncio.create_task(subscription.run(shutdown), name="subscription")
    working = [
        asyncio.create_task(worker, name=f"worker {number}")
        for number, worker in enumerate(workers)
    ]
    stopping = asyncio.create_task(shutdown.wait(), name="shutdown")
    try:
        done, _ = await asyncio.wait(
            {keeper, stopping, *working}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done - {stopping}:
            task.result()  # a bug of ours ends the service
        _, late = await asyncio.wait({keeper, *working}, timeout=drain)
        if late:
            log.warning("drain_cut_short", running=len(late))
    finally:
        await _end({keeper, stopping, *working})
        await subscription.close()


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel them, and wait for their ends, though not for ever."""
    for task in tasks:
        task.cancel()
    _, stuck = await asyncio.wait(tasks, timeout=CANCEL)
    if stuck:
        log.error("handlers_heed_no_cancellation", running=len(stuck))


async def _work(
    subscription: Subscription,
    handle: Callable[[Delivery], Awaitable[None]],
    shutdown: asyncio.Event,
) -> None:
    while (delivery := await subscription.next()) is not None:
        try:
            await handle(delivery)
        except Exception as error:  # noqa: BLE001 - the outermost edge: the others go on
            await give_back([delivery], error, shutdown)


async def give_back(
    deliveries: Iterable[Delivery], error: Exception, shutdown: asyncio.Event
) -> None:
    """Whatever it was that we could not cope with, no message is lost. After a pause.

    Those of them that are settled stay so.
    """
    unsettled = [delivery for delivery in deliveries if delivery.live]
    types = sorted({str(delivery.type) for delivery in unsettled})
    log.error("deliveries_failed", types=types, count=len(unsettled), exc_info=error)
    if unsettled:
        await first_of(unsettled[-1].registration.lost, shutdown, timeout=PAUSE)
    for delivery in unsettled:
        await delivery.nack()
