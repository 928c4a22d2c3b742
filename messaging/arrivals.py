"""What has arrived and nobody has taken yet."""

import asyncio

from messaging.delivery import Delivery


class Arrivals:
    """Deliveries in the order of their arrival, of one queue or of several."""

    def __init__(self) -> None:
        self._deliveries: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._ended = False

    def put(self, delivery: Delivery) -> None:
        """One more has arrived."""
        self._deliveries.put_nowait(delivery)

    def end(self) -> None:
        """Whoever asks for more gets none, also of what has arrived."""
        self._ended = True
        self._deliveries.put_nowait(None)

    async def next_few(self, limit: int) -> list[Delivery]:
        """The next deliveries that can still be settled, at most so many; none after the end.

        As many as are there, and at least one: it waits for that one only.
        """
        few: list[Delivery] = []
        while not self._ended and not few:
            arrived = [await self._deliveries.get()]
            while len(arrived) < limit and not self._deliveries.empty():
                arrived.append(self._deliveries.get_nowait())
            few = [delivery for delivery in arrived if delivery is not None and delivery.live]
        if not self._ended:
            return few
        self._deliveries.put_nowait(None)  # for the next one who waits
        return []
