"""Looking at what is on a broker, on each kind of broker, with nothing changed there."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage

from messaging.broker import Broker
from messaging.definitions import examine_definitions
from messaging.findings import Finding, Verdict
from messaging.inspection import QueueCount, count_queues, examine_topology
from messaging.topology import EVENTS, TRUST, Binding, Queue, Topology
from services.contracts.topology import (
    GATEWAY,
    GATEWAY_TOPOLOGY,
    ORDER_SERVICE,
    ORDERS_COMMANDS,
    ORDERS_TOPOLOGY,
    TOPOLOGY,
)
from services.local.logins import OPERATOR
from tests.brokers import RunningBroker, VhostBroker
from tests.messaging.raw import WAIT, Raw, raw_channel


@pytest_asyncio.fixture
async def doors(conformance_broker: RunningBroker) -> AsyncIterator[VhostBroker]:
    """The topology, and each service's login with just its rights."""
    async with conformance_broker.stack_vhost() as stack_broker:
        yield stack_broker


@pytest_asyncio.fixture
async def raw(doors: VhostBroker) -> AsyncIterator[Raw]:
    async with raw_channel(doors.url(OPERATOR)) as raw:
        yield raw


async def definitions_of(doors: VhostBroker) -> dict[str, Any]:
    async with doors.broker.management() as api:
        answer = await api.get(f"/definitions/{doors.vhost}")
    found: dict[str, Any] = answer.raise_for_status().json()
    return {
        kind: sorted(entries, key=str) if isinstance(entries, list) else entries
        for kind, entries in found.items()
    }


async def look(doors: VhostBroker, login: str, topology: Topology) -> list[Finding]:
    broker = await Broker(doors.url(login), name="test").start(WAIT)
    try:
        return await examine_topology(broker, topology, deadline=WAIT)
    finally:
        await broker.close(WAIT)


async def test_an_operator_sees_that_all_is_as_it_must_be_and_changes_nothing(
    doors: VhostBroker,
) -> None:
    before = await definitions_of(doors)

    (found,) = await look(doors, OPERATOR, TOPOLOGY)

    assert found.verdict is Verdict.OK
    assert await definitions_of(doors) == before
    assert [f.verdict for f in examine_definitions(before, TOPOLOGY)] == [Verdict.OK]


@pytest.mark.parametrize(
    ("login", "topology"), [(GATEWAY, GATEWAY_TOPOLOGY), (ORDER_SERVICE, ORDERS_TOPOLOGY)]
)
async def test_a_service_says_that_it_cannot_compare(
    doors: VhostBroker, login: str, topology: Topology
) -> None:
    (found,) = await look(doors, login, topology)

    assert found.verdict is Verdict.SKIP
    assert found.detail.startswith("0 of ")
    assert "CARNET_OPERATOR_URL" in found.detail


async def test_a_queue_that_is_declared_otherwise_is_named_both_ways(
    doors: VhostBroker, raw: Raw
) -> None:
    (_, dead, *_) = ORDERS_COMMANDS.queues()
    arguments: dict[str, Any] = {**dead.arguments, "x-delivery-limit": 20}
    await raw.channel.queue_delete(dead.name)
    await raw.channel.declare_queue(dead.name, durable=True, arguments=arguments)

    (over_amqp,) = await look(doors, OPERATOR, TOPOLOGY)
    written = examine_definitions(await definitions_of(doors), TOPOLOGY)

    for found in (over_amqp, written[0]):
        assert found.verdict is Verdict.FAIL
        assert (
            "queue orders.commands.dead is declared otherwise: x-delivery-limit is 20 and must"
        ) in found.detail
        assert "delete it" in found.detail


async def test_an_exchange_of_another_kind_is_named_both_ways(doors: VhostBroker, raw: Raw) -> None:
    await raw.channel.exchange_delete(EVENTS.name)
    await raw.channel.declare_exchange(EVENTS.name, "fanout", durable=True)

    (over_amqp,) = await look(doors, OPERATOR, TOPOLOGY)
    (written,) = examine_definitions(await definitions_of(doors), TOPOLOGY)

    assert "exchange carnet.events is declared otherwise: type is fanout" in over_amqp.detail
    assert "it must be a durable topic exchange" in written.detail


async def test_what_is_missing_is_named_and_not_made(doors: VhostBroker, raw: Raw) -> None:
    await raw.channel.queue_delete(ORDERS_COMMANDS.dead)
    await raw.channel.exchange_delete(TRUST.name)

    over_amqp = await look(doors, OPERATOR, TOPOLOGY)
    written = examine_definitions(await definitions_of(doors), TOPOLOGY)

    for findings in (over_amqp, written):
        details = [f.detail for f in findings if f.verdict is Verdict.FAIL]
        assert any("exchange carnet.trust is not there" in detail for detail in details)
        assert any("queue orders.commands.dead is not there" in detail for detail in details)
    names = [queue["name"] for queue in (await definitions_of(doors))["queues"]]
    assert ORDERS_COMMANDS.dead not in names


async def test_a_dead_letter_queue_that_is_not_bound_is_named(doors: VhostBroker, raw: Raw) -> None:
    dead = await raw.channel.get_queue(ORDERS_COMMANDS.dead)
    await dead.unbind("carnet.dead", ORDERS_COMMANDS.dead)

    (found,) = examine_definitions(await definitions_of(doors), TOPOLOGY)

    assert found.verdict is Verdict.FAIL
    assert found.detail.startswith("queue orders.commands.dead is not bound to carnet.dead under ")


async def test_a_policy_that_would_drop_messages_is_told(doors: VhostBroker) -> None:
    policy = {"pattern": "^orders", "definition": {"max-length": 10}, "apply-to": "queues"}
    async with doors.broker.management() as api:
        answer = await api.put(f"/policies/{doors.vhost}/small", json=policy)
        answer.raise_for_status()

    (found,) = examine_definitions(await definitions_of(doors), TOPOLOGY)

    assert found.verdict is Verdict.WARN
    assert "policy small changes queues that match ^orders: max-length=10" in found.detail


async def test_queues_are_counted(doors: VhostBroker, raw: Raw) -> None:
    await raw.publish("carnet.dead", ORDERS_COMMANDS.dead, b"{}")
    await raw.until_count(ORDERS_COMMANDS.dead, 1)

    async def take(message: AbstractIncomingMessage) -> None:
        await message.ack()

    await (await raw.channel.get_queue(ORDERS_COMMANDS.name)).consume(take)
    broker = await Broker(doors.url(OPERATOR), name="test").start(WAIT)

    counts = await count_queues(
        broker, [ORDERS_COMMANDS.name, ORDERS_COMMANDS.dead, "nowhere"], deadline=WAIT
    )
    await broker.close(WAIT)

    assert counts == {
        ORDERS_COMMANDS.name: QueueCount(messages=0, consumers=1),
        ORDERS_COMMANDS.dead: QueueCount(messages=1, consumers=0),
    }


async def test_a_definition_is_compared_argument_by_argument(doors: VhostBroker) -> None:
    (work, *_) = ORDERS_COMMANDS.queues()
    fewer = {name: each for name, each in work.arguments.items() if name != "x-overflow"}
    other = Topology(
        queues=(replace(work, arguments={**fewer, "x-delivery-limit": 7, "x-max-length": 5}),),
        bindings=(Binding(work.name, EVENTS.name, "orders.placed"),),
    )

    details = [f.detail for f in examine_definitions(await definitions_of(doors), other)]

    assert len(details) == 4
    assert "x-delivery-limit is 1000 and must be 7" in details[0]
    assert "x-max-length is missing and must be 5" in details[1]
    assert "x-overflow is reject-publish and must not be there" in details[2]
    assert "is not bound to carnet.events under orders.placed" in details[3]


async def test_a_transient_queue_is_not_the_durable_one(doors: VhostBroker) -> None:
    missing = Topology(queues=(Queue("orders.other"),))

    (found,) = examine_definitions(await definitions_of(doors), missing)

    assert "durable queue orders.other is not there" in found.detail
