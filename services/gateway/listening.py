"""Listens to the order service's events, for the streams that are open here."""

from typing import Final

from auth.message import VerifiedMessage
from messaging.contract import Event
from messaging.events import EventSubscriber
from services.contracts.journeys import MessageJourney
from services.contracts.orders import OrderCancelled, OrderEvent, OrderPlaced, OrderRefused
from services.contracts.topology import GATEWAY
from services.gateway.journeys import JourneyHub
from services.gateway.live import EventHub, LiveEvent

CONTRACTS: Final[tuple[type[OrderEvent], ...]] = (OrderPlaced, OrderCancelled, OrderRefused)


def order_events(hub: EventHub, journeys: JourneyHub) -> EventSubscriber:
    """A subscriber that hands each order event to the streams of the user whose act it records.

    A report on a message's journey it hands to whoever watches that message.
    """
    heard: tuple[type[Event], ...] = (*CONTRACTS, MessageJourney)
    events = EventSubscriber(GATEWAY, [contract.route.routing_key for contract in heard])

    async def show(event: OrderEvent, message: VerifiedMessage) -> None:
        live = LiveEvent(event.sequence, event.route.type, event.to_body().decode())
        hub.publish(message.seal.sub or "", live)

    for contract in CONTRACTS:
        events.handles(contract)(show)
    events.handles(MessageJourney)(journeys.show)
    return events
