"""An order: what may happen to it, and when."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from auth.principal import Principal
from services.contracts.orders import OrderLine, OrderState, PlaceOrder

MAX_TOTAL: Final = Decimal(1_000_000)
"""Above this an order is refused: somebody has to be asked first."""

TOTAL_TOO_LARGE: Final = "total_too_large"
NOT_CANCELLABLE: Final = "not_cancellable"


@dataclass(slots=True)
class Order:
    """One order of one user. Times are whole milliseconds since the epoch.

    id: the id of the message that placed it.
    subject, actors: who placed it, and through which clients, the latest first.
    """

    id: str
    subject: str
    actors: tuple[str, ...]
    lines: tuple[OrderLine, ...]
    currency: str | None
    total: Decimal
    state: OrderState
    placed_at: int
    changed_at: int
    refusal: str | None = None

    @classmethod
    def placed(cls, order_id: str, command: PlaceOrder, caller: Principal, *, at: int) -> Self:
        """The order that a verified command asks for; `refused` if it breaks a rule of ours."""
        total = sum((line.amount for line in command.lines), Decimal(0))
        too_large = total > MAX_TOTAL
        return cls(
            id=order_id,
            subject=caller.subject,
            actors=caller.actors,
            lines=command.lines,
            currency=command.currency,
            total=total,
            state="refused" if too_large else "placed",
            placed_at=at,
            changed_at=at,
            refusal=TOTAL_TOO_LARGE if too_large else None,
        )

    def same_wish(self, other: "Order") -> bool:
        """Whether both come of one message: the same subject wants the same."""
        return (self.id, self.subject, self.lines, self.currency) == (
            other.id,
            other.subject,
            other.lines,
            other.currency,
        )

    def cancel(self, *, at: int) -> bool:
        """Cancel it; False where it was cancelled before, or refused: nothing to cancel."""
        if self.state != "placed":
            return False
        self.state = "cancelled"
        self.changed_at = at
        return True
