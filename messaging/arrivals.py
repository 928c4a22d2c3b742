"""What has arrived and nobody has taken yet."""

import asyncio
from collections import deque

from messaging.delivery import Delivery


class Arrivals:
    """Deliveries in the order of their arrival, of one queue or of several."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque()
        self._something = asyncio.Event()
        """There are some, or there will be none."""
        self._ended = False

    def put(self, delivery: Delivery) -> None:
        """One more has arrived."""
        self._deliveries.append(delivery)
        self._something.set()

    def end(self) -> None:
        """Whoever asks for more gets none, also of what has arrived."""
        self._ended = True
        self._something.set()

    async def next_few(self, limit: int) -> list[Delivery]:
        """The next deliveries that can still be settled, at most so many; none after the end.

        As many as are there, and at least one: it waits for that one only.
        """
        few: list[Delivery] = []
        while not few:
            await self._something.wait()
            if self._ended:
                break
            while self._deliveries and len(few) < limit:
                delivery = self._deliveries.popleft()
                if delivery.live:
                    few.append(delivery)
            if not self._deliveries:
                self._something.clear()
        return few
