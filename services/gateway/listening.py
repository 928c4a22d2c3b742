"""Listens to the order service's events, for the streams that are open here."""

from typing import Final

from auth.message import VerifiedMessage
from messaging.events import EventSubscriber
from services.contracts.orders import OrderCancelled, OrderEvent, OrderPlaced, OrderRefused
from services.contracts.topology import GATEWAY
from services.gateway.live import EventHub, LiveEvent

CONTRACTS: Final[tuple[type[OrderEvent], ...]] = (OrderPlaced, OrderCancelled, OrderRefused)


def order_events(hub: EventHub) -> EventSubscriber:
    """A subscriber that hands each order event to the streams of the user whose act it records."""
    events = EventSubscriber(GATEWAY, [contract.route.routing_key for contract in CONTRACTS])

    async def show(event: OrderEvent, message: VerifiedMessage) -> None:
        live = LiveEvent(event.sequence, event.route.type, event.to_body().decode())
        hub.publish(message.seal.sub or "", live)

    for contract in CONTRACTS:
        events.handles(contract)(show)
    return events
