"""Several queues consumed as one: each on a channel of its own, all that arrives in one line.

So one that is lost is registered again by itself, and the others go on meanwhile.
"""

import asyncio
from collections.abc import Sequence

from messaging.arrivals import Arrivals
from messaging.broker import Broker
from messaging.delivery import Delivery
from messaging.subscription import Subscription, shared_queue


class Subscriptions:
    """Deliveries of several queues, over every loss of the connection."""

    def __init__(
        self, broker: Broker, queues: Sequence[str], *, prefetch: int, left: Sequence[str] = ()
    ) -> None:
        """Of `queues`, and of those that are `left`, for as long as these are there.

        prefetch: deliveries held ahead, of all queues together; of each at least one.
        """
        self._arrivals = Arrivals()
        sources = [
            *(shared_queue(name) for name in queues),
            *(shared_queue(name, may_go=True) for name in left),
        ]
        share = max(1, prefetch // len(sources))
        self.each = tuple(
            Subscription(broker, source, prefetch=share, arrivals=self._arrivals)
            for source in sources
        )

    @property
    def ready(self) -> bool:
        """Whether every queue that must be there is consumed from, on a channel that lives."""
        return all(subscription.ready for subscription in self.each)

    async def run(self, shutdown: asyncio.Event) -> None:
        """Keep the consumers registered until `shutdown`, then cancel them.

        What was delivered can still be settled until `close`.
        """
        async with asyncio.TaskGroup() as running:
            for subscription in self.each:
                running.create_task(subscription.run(shutdown))
            # At once: nobody is to begin another one while the consumers are being cancelled.
            running.create_task(self._end(shutdown))

    async def _end(self, shutdown: asyncio.Event) -> None:
        await shutdown.wait()
        self._arrivals.end()

    async def next_few(self, limit: int) -> list[Delivery]:
        """As `Subscription.next_few`, of whichever queues."""
        return await self._arrivals.next_few(limit)

    async def close(self) -> None:
        """Give back what is not settled, each queue in its order, and close the channels."""
        await asyncio.gather(*(subscription.close() for subscription in self.each))
