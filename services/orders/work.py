"""One command's transaction: the orders, and what users are told of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

from messaging.unit_of_work import UnitOfWork
from services.contracts.orders import OrderEvent
from services.orders.history import History
from services.orders.store import OrderStore


class OrderWork(UnitOfWork):
    """The unit of work of the order service's handlers."""

    @property
    def now_ms(self) -> int:
        """`now` as orders keep it: whole milliseconds since the epoch."""
        return int(self.now * 1000)

    @cached_property
    def orders(self) -> OrderStore:
        return OrderStore(self.session)

    @cached_property
    def history(self) -> History:
        return History(self.session)

    async def tell(self, subject: str, event: Callable[[int, datetime], OrderEvent]) -> None:
        """Record an event as the subject's next one, and publish it once this is committed.

        `event` receives its sequence number and the time. A command is told of once.

        Raises:
            RepeatedError, RefusalError: it was before (`History.record`).
        """
        sequence = await self.history.next_sequence(subject)
        told = event(sequence, datetime.fromtimestamp(int(self.now), UTC))
        seal = self.message.seal
        await self.history.record(subject, told, cause=f"{seal.iss}/{seal.jti}")
        self.publish(told, subject=subject)
