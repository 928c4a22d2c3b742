"""The queues of the whole system, counted with the console's own login."""

from messaging.broker import Broker
from services.operations.queues import DEADLINE, Counted, NamedQueue, counted


class Queues:
    def __init__(self, broker: Broker, queues: tuple[NamedQueue, ...]) -> None:
        self._broker = broker
        self._queues = queues

    async def count(self) -> list[Counted]:
        """All of them.

        Raises:
            BrokerUnavailableError: the broker does not say, in time.
        """
        return await counted(self._broker, self._queues, deadline=DEADLINE)

    async def count_for_rates(self, *, deadline: float) -> list[Counted]:
        """Those whose number is followed: work and dead letters.

        Raises:
            BrokerUnavailableError: the broker does not say within `deadline` seconds.
        """
        followed = tuple(queue for queue in self._queues if queue.kind in {"work", "dead"})
        return await counted(self._broker, followed, deadline=deadline)
