"""One command's unit of work: the orders, and what users are told of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from messaging.unit_of_work import UnitOfWork
from services.contracts.orders import OrderEvent
from services.orders.history import Entry, History
from services.orders.order import Order
from services.orders.store import OrderStore

NewEvent = Callable[[int, datetime], OrderEvent]
"""Makes an event, of its sequence number and the time."""


@dataclass(slots=True)
class _Pending:
    """What is written with the next `flush`: few statements for many commands."""

    orders: list[Order] = field(default_factory=list)
    told: list[tuple["OrderWork", str, NewEvent]] = field(default_factory=list)


class OrderWork(UnitOfWork):
    """The unit of work of the order service's handlers."""

    @property
    def now_ms(self) -> int:
        """`now` as orders keep it: whole milliseconds since the epoch."""
        return int(self.now * 1000)

    @property
    def history(self) -> History:
        return History(self.session)

    @property
    def _store(self) -> OrderStore:
        return OrderStore(self.session)

    @property
    def _pending(self) -> _Pending:
        """Of this transaction, whosever units of work share it."""
        pending: _Pending | None = self.session.info.get(_Pending)
        if pending is None:
            pending = self.session.info[_Pending] = _Pending()
        return pending

    def add(self, order: Order) -> None:
        """Keep a new order. Whether it is one shows in `flush` (`OrderStore.add`)."""
        self._pending.orders.append(order)

    async def get(self, order_id: str) -> Order | None:
        """The order, or None; nobody else changes it until this transaction ends."""
        await self._flush_orders()
        return await self._store.get(order_id, lock=True)

    async def save_state(self, order: Order) -> None:
        """Keep what `Order` changed in itself."""
        await self._store.save_state(order)

    def tell(self, subject: str, event: NewEvent) -> None:
        """Record an event as the subject's next one, and publish it once this is committed.

        A command is told of once: whether it was before shows in `flush` (`History.record`).
        """
        self._pending.told.append((self, subject, event))

    async def flush(self) -> None:
        """Write what was put off.

        Raises:
            RepeatedError, RefusalError: as `OrderStore.add` and `History.record`.
        """
        await self._flush_orders()
        told, self._pending.told = self._pending.told, []
        if not told:
            return
        sequences = await self.history.next_sequences([subject for _, subject, _ in told])
        entries = [
            work.told(subject, event, sequence)
            for (work, subject, event), sequence in zip(told, sequences, strict=True)
        ]
        await self.history.record(entries)

    def told(self, subject: str, event: NewEvent, sequence: int) -> Entry:
        """The event, with its number, published once this is committed."""
        told = event(sequence, datetime.fromtimestamp(int(self.now), UTC))
        body = self.publish(told, subject=subject)
        seal = self.message.seal
        return Entry(subject, told, body, cause=f"{seal.iss}/{seal.jti}")

    async def _flush_orders(self) -> None:
        orders, self._pending.orders = self._pending.orders, []
        if orders:
            await self._store.add(orders)
