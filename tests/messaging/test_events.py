"""Listening to events: verified, in order, live, and again after a loss."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio

from auth.errors import Code
from auth.keys import SigningKey
from auth.message import VerifiedMessage
from auth.seal import Sealer
from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.errors import MessagingError
from messaging.events import EventParts, EventSubscriber
from messaging.publisher import Publisher
from tests.messaging.market import (
    ALICE,
    GATEWAY,
    MARKET,
    STRANGER,
    Sell,
    Sold,
    SwitchableTrust,
    make_trust,
    party,
    verifier_of,
)
from tests.messaging.raw import WAIT, Raw, until
from tests.messaging.wire import Wire


def sold(what: str, *, sealer: Sealer | None = None, sealed_body: bytes | None = None) -> Envelope:
    """A genuine event, unless another party seals it, or another body."""
    event, now = Sold(what=what), time.time()
    seal = (sealer or party(MARKET).sealer).event(
        route=event.route,
        message_id=str(uuid.uuid4()),
        body=sealed_body or event.to_body(),
        subject=ALICE,
        cause=str(uuid.uuid4()),
        now=now,
        expires_at=now + 60,
    )
    return Envelope.sealed(event.route, event.to_body(), seal=seal, carnet=None)


@dataclass
class Listener:
    subscriber: EventSubscriber
    trust: SwitchableTrust
    publisher: Publisher
    heard: list[tuple[str, VerifiedMessage]] = field(default_factory=list)
    registered: int = 0
    before: Callable[[Sold], Awaitable[None]] | None = None

    async def hear(self, event: Sold, message: VerifiedMessage) -> None:
        if self.before is not None:
            await self.before(event)
        self.heard.append((event.what, message))

    def register(self) -> None:
        self.registered += 1

    async def tell(self, *events: Envelope) -> None:
        for event in events:
            await self.publisher.publish(event, deadline=WAIT)


@pytest_asyncio.fixture
async def listener(link: Broker, publisher: Publisher) -> AsyncIterator[Listener]:
    subscriber, trust = EventSubscriber(GATEWAY, ["market.*"]), make_trust()
    listener = Listener(subscriber, trust, publisher)
    subscriber.handles(Sold)(listener.hear)
    parts = EventParts(link, verifier_of(GATEWAY, trust), time.time, listener.register)
    shutdown = asyncio.Event()
    running = asyncio.create_task(subscriber.run(parts, shutdown))
    await until(lambda: subscriber.ready)
    yield listener
    shutdown.set()
    await running


async def test_an_event_is_heard_with_whose_act_it_records(listener: Listener) -> None:
    await listener.tell(sold("tea"))

    await until(lambda: len(listener.heard) == 1)
    what, message = listener.heard[0]
    assert what == "tea"
    assert message.seal.sub == ALICE
    assert message.seal.iss == MARKET


async def test_events_are_heard_in_their_order(listener: Listener) -> None:
    await listener.tell(*(sold(str(number)) for number in range(30)))

    await until(lambda: len(listener.heard) == 30)
    assert [what for what, _ in listener.heard] == [str(number) for number in range(30)]


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (lambda: sold("tea", sealer=party(STRANGER).sealer), Code.TYPE_NOT_ALLOWED),
        (lambda: sold("tea", sealed_body=b"{}"), Code.SEAL_MISMATCH),
        (lambda: replace(sold("tea"), headers={}), Code.MISSING_TOKEN),
        (
            lambda: replace(sold("tea"), route=replace(Sold.route, type="market.gone.v1")),
            Code.UNKNOWN_TYPE,
        ),
    ],
    ids=["of a stranger", "of another body", "without a seal", "of an unknown type"],
)
async def test_an_event_that_is_not_genuine_is_not_heard(
    listener: Listener, forge: Callable[[], Envelope], code: Code
) -> None:
    await listener.tell(forge(), sold("the next one"))

    await until(lambda: len(listener.heard) == 1)
    assert [what for what, _ in listener.heard] == ["the next one"]
    assert listener.subscriber.counts[code] == 1


async def test_a_handler_that_fails_does_not_stop_the_others(listener: Listener) -> None:
    async def fail(event: Sold) -> None:
        if event.what == "bad":
            raise ZeroDivisionError

    listener.before = fail

    await listener.tell(sold("bad"), sold("good"))

    await until(lambda: len(listener.heard) == 1)
    assert listener.subscriber.counts == {"failed": 1, "handled": 1}


async def test_an_event_under_an_unknown_key_waits_while_trust_is_away(listener: Listener) -> None:
    """Only a fresh feed may say that a key is unknown: until then it is not refused."""
    listener.trust.silent = True
    unknown = Sealer(MARKET, SigningKey.generate())
    await listener.tell(sold("tea", sealer=unknown), sold("the next one"))
    subscription = listener.subscriber._subscription
    assert subscription is not None
    registration = subscription.registration
    assert registration is not None
    await until(lambda: len(registration.unsettled) == 2)
    assert listener.subscriber.counts.total() == 0

    listener.trust.silent = False

    await until(lambda: len(listener.heard) == 1)
    assert listener.subscriber.counts == {Code.UNKNOWN_KEY: 1, "handled": 1}


async def test_it_says_from_when_on_it_listens_again(listener: Listener, wire: Wire) -> None:
    assert listener.registered == 1

    wire.cut()

    await until(lambda: listener.registered == 2)
    async with asyncio.timeout(WAIT):
        while True:
            with suppress(MessagingError):  # the connection that publishes was cut as well
                await listener.tell(sold("tea"))
                break
    await until(lambda: len(listener.heard) > 0)


def test_an_event_has_one_handler_and_only_an_event_has() -> None:
    subscriber = EventSubscriber(GATEWAY, ["market.*"])

    async def handler(event: Sold, message: VerifiedMessage) -> None:
        del event, message

    subscriber.handles(Sold)(handler)

    with pytest.raises(ValueError, match="has a handler already"):
        subscriber.handles(Sold)(handler)
    with pytest.raises(TypeError, match="kind of Event"):
        subscriber.handles(Sell)(handler)  # type: ignore[type-var, arg-type]


async def test_the_queue_of_a_lost_connection_is_deleted_once_there_is_another(
    listener: Listener, wire: Wire, raw: Raw
) -> None:
    """Not after a minute, by the broker: one that has lost its leader would never go."""
    subscription = listener.subscriber._subscription
    assert subscription is not None
    assert subscription.registration is not None
    left = subscription.registration.queue
    assert await raw.count(left) == 0  # it is there

    wire.cut()

    await until(lambda: listener.registered == 2)
    async with asyncio.timeout(WAIT):
        while await raw.exists(left):  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.05)
    assert await raw.exists(subscription.registration.queue)
    await listener.tell(sold("tea"))
    await until(lambda: [what for what, _ in listener.heard] == ["tea"])


async def test_a_subscriber_without_handlers_does_not_run(link: Broker) -> None:
    parts = EventParts(link, verifier_of(GATEWAY, make_trust()), time.time)

    with pytest.raises(ValueError, match="no handler"):
        await EventSubscriber(GATEWAY, ["#"]).run(parts, asyncio.Event())
