"""The messages of the order service: commands it takes, events it tells, requests it answers."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from auth.verifier import Route
from messaging.contract import Command, Event, Request
from services.contracts import topology

ORDER_ID: Final = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")

OrderId = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        description="The order's id: a UUID, the id of the message that placed it.",
        examples=["7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11"],
    ),
]
Sku = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Stock-keeping unit.",
        examples=["tea-earl-grey"],
    ),
]
Currency = Annotated[
    str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.", examples=["EUR"])
]
Price = Annotated[
    Decimal,
    Field(
        ge=0,
        max_digits=12,
        decimal_places=2,
        description="Price of one unit, a decimal string in the order's currency.",
        examples=["4.20"],
    ),
]
OrderState = Literal["placed", "cancelled", "refused"]

PATIENCE: Final = timedelta(hours=24)
"""How long an accepted command may wait: an outage of the order service loses no order. The
gateway seals no command for longer, and the order service takes none that is older."""

MAX_LINES: Final = 100
MAX_QUANTITY: Final = 10_000


class OrderLine(BaseModel):
    """One line: how many of what, at which price for one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku: Sku
    quantity: Annotated[int, Field(strict=True, ge=1, le=MAX_QUANTITY, examples=[2])]
    unit_price: Price

    @property
    def amount(self) -> Decimal:
        return self.unit_price * self.quantity


Lines = Annotated[tuple[OrderLine, ...], Field(min_length=1, max_length=MAX_LINES)]


class PlaceOrder(Command):
    """Place an order of the caller's. The message's id becomes the order's id."""

    route: ClassVar[Route] = topology.PLACE_ORDER

    lines: Lines
    currency: Currency

    def concerns(self, message_id: str) -> str:
        return message_id


class CancelOrder(Command):
    """Cancel an order of the caller's (of anybody's with `orders:write-all`)."""

    route: ClassVar[Route] = topology.CANCEL_ORDER

    order_id: OrderId

    def concerns(self, message_id: str) -> str:
        del message_id
        return self.order_id


class OrderEvent(Event):
    """What every order event says.

    `sequence` counts one user's order events without a gap, from 1: whoever has seen n and
    receives n + 2 knows that one is missing.
    """

    order_id: OrderId
    sequence: Annotated[int, Field(ge=1)]
    at: datetime

    def concerns(self, message_id: str) -> str:
        del message_id
        return self.order_id


class OrderPlaced(OrderEvent):
    """An order is stored."""

    route: ClassVar[Route] = topology.ORDER_PLACED

    lines: Lines
    currency: Currency
    total: Decimal


class OrderCancelled(OrderEvent):
    """An order was cancelled, by its user or an operator."""

    route: ClassVar[Route] = topology.ORDER_CANCELLED

    cancelled_by: str


class OrderRefused(OrderEvent):
    """A command of the user's was genuine and was refused; `code` says why."""

    route: ClassVar[Route] = topology.ORDER_REFUSED

    command: str = Field(description="Type of the refused command.", examples=["orders.place.v1"])
    code: str = Field(description="Stable code of the refusal.", examples=["expired"])
    detail: str


class OrderView(BaseModel):
    """An order as its user sees it."""

    model_config = ConfigDict(frozen=True)

    id: OrderId
    state: OrderState
    lines: tuple[OrderLine, ...]
    currency: Currency | None = Field(description="Absent where the order was refused unread.")
    total: Decimal
    placed_by: str = Field(description="Subject whose order it is.")
    placed_through: tuple[str, ...] = Field(
        description="Clients that acted for the subject, the latest first.",
        examples=[["api-gateway"]],
    )
    placed_at: datetime
    changed_at: datetime
    refusal: str | None = Field(default=None, description="Why it was refused, as a stable code.")


class OrderPage(BaseModel):
    """One page of orders, newest first; `next` is the cursor of the following page."""

    model_config = ConfigDict(frozen=True)

    orders: tuple[OrderView, ...]
    next: str | None


class ListOrders(Request[OrderPage]):
    """The caller's orders (everybody's with `orders:read-all` and `everyone`)."""

    route: ClassVar[Route] = Route("carnet.rpc", topology.ORDERS_RPC, "orders.list.v1")
    reply: ClassVar[type[OrderPage]] = OrderPage

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(max_length=200)] | None = None
    everyone: bool = False


class GetOrder(Request[OrderView]):
    """One order; `not_found` where it is not the caller's to see."""

    route: ClassVar[Route] = Route("carnet.rpc", topology.ORDERS_RPC, "orders.get.v1")
    reply: ClassVar[type[OrderView]] = OrderView

    order_id: OrderId


class RecordedEvent(BaseModel):
    """An order event as it was published: its type and its body, a JSON object."""

    model_config = ConfigDict(frozen=True)

    sequence: int
    type: str
    body: str


class EventsPage(BaseModel):
    """The caller's events after `after`, in order; `latest` is the newest there is."""

    model_config = ConfigDict(frozen=True)

    events: tuple[RecordedEvent, ...]
    latest: int


class ListOrderEvents(Request[EventsPage]):
    """The caller's own order events with a sequence greater than `after`, oldest first."""

    route: ClassVar[Route] = Route("carnet.rpc", topology.ORDERS_RPC, "orders.events.v1")
    reply: ClassVar[type[EventsPage]] = EventsPage

    after: Annotated[int, Field(ge=0)]
    limit: Annotated[int, Field(ge=0, le=500)] = 100
