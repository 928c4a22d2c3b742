"""A service that acts on events of another: each once, also if it was away when they were told."""

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import pytest
import pytest_asyncio

from auth.message import Route
from auth.policy import public
from auth.seal import Sealer
from auth.statement import KeySetDraft
from messaging.broker import Broker
from messaging.consumer import CommandConsumer
from messaging.contract import Event
from messaging.envelope import Envelope
from messaging.errors import TransientError
from messaging.publisher import Publisher
from messaging.topology import EVENTS, WorkQueue
from messaging.unit_of_work import UnitOfWork
from services.authority import Authority
from services.contracts.topology import ORDER_SERVICE
from services.keyring import Keyring
from services.local.trust import make_local_trust
from tests.messaging.raw import WAIT, Raw, raw_channel, until
from tests.services.gateway.stack import Stack
from tests.services.small import Service, service

PACKING: Final = "packing-service"
COURIER: Final = "courier-service"
ADA: Final = "3f0e5c1a-8f7e-4a52-9d0b-7b1c9a6f2e11"


class Packed(Event):
    """What the packing service tells."""

    route: ClassVar[Route] = Route(EVENTS.name, "parcels.packed", "parcels.packed.v1")

    what: str

    def concerns(self, message_id: str) -> str:
        del message_id
        return self.what


@dataclass
class Parcels:
    """The courier hears of what was packed."""

    courier: Service
    packer: Sealer
    raw: Raw
    heard: list[tuple[str, str, str]] = field(default_factory=list)
    failures: int = 0

    async def hear(self, event: Packed, work: UnitOfWork) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("the van is full")
        self.heard.append((event.what, work.subject, work.message.seal.cause or ""))

    async def tell(
        self, what: str, *, by: Sealer | None = None, told_at: float | None = None, times: int = 1
    ) -> None:
        publisher = Publisher(self.courier.broker, client_id=PACKING)
        body, now = Packed(what=what).to_body(), told_at or time.time()
        seal = (by or self.packer).event(
            route=Packed.route,
            message_id=str(uuid.uuid4()),
            body=body,
            subject=ADA,
            cause="the-order-0000000001",
            now=now,
            expires_at=now + 3600,
        )
        envelope = Envelope.sealed(Packed.route, body, seal=seal, carnet=None)
        for _ in range(times):
            await publisher.publish(envelope, deadline=WAIT)


@pytest_asyncio.fixture
async def parcels(amqp_url: str, tmp_path: Path) -> AsyncIterator[Parcels]:
    make_local_trust(tmp_path)
    authority = Authority(tmp_path)
    keyring = Keyring(authority.keys, None)
    draft = KeySetDraft.of(authority.latest())
    for client, publishes in ((PACKING, {Packed.route.type}), (COURIER, set[str]())):
        draft.add_client(
            client,
            key=keyring.seal(client).public,
            enc=keyring.encryption(client).public,
            publishes=frozenset(publishes),
            exchanges=frozenset(),
            scopes=frozenset(),
        )
    authority.publish(draft, now=time.time())
    broker = await Broker(amqp_url, name="parcels").start(WAIT)
    try:
        async with raw_channel(amqp_url) as raw:
            courier = service(Stack(tmp_path, lambda _: amqp_url), COURIER, broker)
            yield Parcels(courier, Sealer(PACKING, keyring.seal(PACKING)), raw)
    finally:
        await broker.close(WAIT)


async def test_an_event_is_acted_on_once_and_says_whose_act_it_records(parcels: Parcels) -> None:
    parcels.failures = 1
    async with parcels.courier.running(Packed, public(), parcels.hear):
        await parcels.tell("tea", times=2)
        await parcels.tell("cup")

        await until(lambda: len(parcels.heard) == 2)
        await parcels.raw.until_count(parcels.courier.queue.name, 0)

        assert sorted(parcels.heard) == [
            ("cup", ADA, "the-order-0000000001"),
            ("tea", ADA, "the-order-0000000001"),
        ]


async def test_an_event_waits_for_a_service_that_is_away(parcels: Parcels) -> None:
    async with parcels.courier.running(Packed, public(), parcels.hear):
        pass
    await parcels.tell("tea")

    async with parcels.courier.running(Packed, public(), parcels.hear):
        await until(lambda: len(parcels.heard) == 1)


async def test_an_event_of_another_client_is_nobody_s(parcels: Parcels, tmp_path: Path) -> None:
    """Not although its key is listed: the type is the packing service's alone."""
    another = Sealer(ORDER_SERVICE, Keyring(Authority(tmp_path).keys, None).seal(ORDER_SERVICE))
    async with parcels.courier.running(Packed, public(), parcels.hear):
        await parcels.tell("tea", by=another)

        dead = await parcels.raw.next(parcels.courier.queue.dead)
        assert dead.headers["carnet-reason"] == "type_not_allowed"
        assert parcels.heard == []


async def test_an_event_that_nobody_believes_any_more_is_a_dead_letter(parcels: Parcels) -> None:
    async with parcels.courier.running(Packed, public(), parcels.hear):
        await parcels.tell("tea", told_at=time.time() - 3600 - 60)

        dead = await parcels.raw.next(parcels.courier.queue.dead)
        assert dead.headers["carnet-reason"] == "too_old"
        assert parcels.heard == []


def test_only_events_are_heard() -> None:
    consumer = CommandConsumer(WorkQueue("courier.commands"))

    with pytest.raises(TypeError, match="Event"):
        consumer.hears(Service)(lambda *_: None)  # type: ignore[type-var, arg-type]
