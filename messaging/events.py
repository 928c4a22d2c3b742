"""Listening to events, live: each process hears all, from the moment on which it listens.

What was told before, or while the connection was lost, is not heard: `on_registered` says that
from now on all is, so what may be missing is asked for then. An event may come twice, under the
same message id (`message.seal.jti`).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from auth.errors import RefusalError, TrustUnavailableError
from auth.message import VerifiedMessage
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.contract import Event
from messaging.delivery import Delivery
from messaging.envelope import trace_of
from messaging.pause import Backoff
from messaging.registry import Registry
from messaging.serving import serve
from messaging.subscription import Subscription, listening_queue
from messaging.topology import EVENTS
from messaging.tracing import BROKER, UNKNOWN, step

PREFETCH: Final = 200
DRAIN: Final = 5.0

E = TypeVar("E", bound=Event)
Handler = Callable[[E, VerifiedMessage], Awaitable[None]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventParts:
    """What a subscriber runs on.

    on_registered: called each time that listening begins, at first and after each loss.
    """

    broker: Broker
    verifier: Verifier
    clock: Callable[[], float]
    on_registered: Callable[[], None] = lambda: None
    drain: float = DRAIN


@dataclass(frozen=True, slots=True)
class EventHandler:
    """What was registered for one type of event."""

    contract: type[Event]
    run: Callable[[Any, VerifiedMessage], Awaitable[None]]


class EventSubscriber:
    """Handlers of events, run one after the other in the order in which events arrive."""

    def __init__(self, client_id: str, routing_keys: Iterable[str]) -> None:
        """`routing_keys`: which events to hear, as patterns of a topic exchange (`orders.*`)."""
        self._client_id = client_id
        self._routing_keys = tuple(routing_keys)
        self._handlers: Registry[EventHandler] = Registry()
        self._subscription: Subscription | None = None
        self.counts: Counter[str] = Counter()
        """What became of events: `handled`, `failed`, or the code of a refusal."""

    @property
    def ready(self) -> bool:
        """Whether the consumer is registered on a channel that lives."""
        return self._subscription is not None and self._subscription.ready

    def handles(self, contract: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Register the handler of an event; it gets the event and what was verified.

        Raises:
            TypeError: the contract is no event, or the handler not async.
            ValueError: the event has a handler already.
        """

        def register(handler: Handler[E]) -> Handler[E]:
            self._handlers.add(contract, Event, EventHandler(contract, handler), handler)
            return handler

        return register

    async def run(self, parts: EventParts, shutdown: asyncio.Event) -> None:
        """Listen until `shutdown`.

        Raises:
            ValueError: no handler is registered.
        """
        if not self._handlers:
            raise ValueError("no handler is registered for any event")
        self._subscription = Subscription(
            parts.broker,
            listening_queue(f"carnet.{self._client_id}.events", EVENTS, self._routing_keys),
            prefetch=PREFETCH,
            on_registered=parts.on_registered,
        )

        types = frozenset(handler.contract.route.type for handler in self._handlers)
        heard = parts.broker.telemetry.metrics.counter(
            "carnet_events_total",
            "Events that were heard: handled, failed, or the code of their refusal.",
            labels=("type", "result"),
        )

        async def handle(delivery: Delivery) -> None:
            kind = delivery.type if delivery.type in types and delivery.type else UNKNOWN
            result = await hear(delivery, kind)
            heard.of(kind, result).add()
            await delivery.ack()

        async def hear(delivery: Delivery, kind: str) -> str:
            attributes: dict[str, str | int] = {
                "messaging.system": BROKER,
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": EVENTS.name,
                "messaging.message.body.size": len(delivery.body),
                "carnet.message.type": kind,
            }
            try:
                with step(
                    parts.broker.telemetry.tracing,
                    f"process {EVENTS.name}",
                    "consumer",
                    parent=trace_of(delivery.headers),
                    attributes=attributes,
                ):
                    await self._hear(delivery, parts, shutdown)
            except RefusalError as refusal:
                self.counts[refusal.code] += 1
                log.warning("event_refused", code=refusal.code, detail=refusal.detail)
                return refusal.code
            except Exception:
                # A handler may raise anything. Nobody waits for an event, and the next one may
                # well be handled.
                self.counts["failed"] += 1
                log.exception("event_failed", type=f"{delivery.type!r:.100}")
                return "failed"
            return "handled"

        await serve(self._subscription, handle, concurrency=1, drain=parts.drain, shutdown=shutdown)

    async def _hear(self, delivery: Delivery, parts: EventParts, shutdown: asyncio.Event) -> None:
        handler = self._handlers.choose(delivery.type)
        backoff = Backoff()
        while True:
            try:
                message = parts.verifier.event(
                    delivery.unverified(), handler.contract.route, now=parts.clock()
                )
                break
            except TrustUnavailableError as fault:
                log.warning("events_wait", detail=fault.detail)
            if await backoff.pause(shutdown, delivery.registration.lost):
                return
        await handler.run(handler.contract.from_body(delivery.body), message)
        self.counts["handled"] += 1
