"""Each service's login does its job, and is refused everything else, by both brokers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused

from messaging.broker import Broker
from messaging.errors import MissingTopologyError
from messaging.topology import Topology, declare
from services.contracts.topology import (
    CONSOLE_TOPOLOGY,
    GATEWAY,
    GATEWAY_TOPOLOGY,
    OPERATOR_DESK,
    ORDER_SERVICE,
    USER_SERVICE,
    USERS_TOPOLOGY,
    orders_topology,
)
from tests.brokers import RunningBroker, VhostBroker

Act = Callable[[AbstractChannel, str], Awaitable[object]]
"""Something done on a channel by the client of this name."""


def publish(exchange: str, routing_key: str) -> Act:
    async def act(channel: AbstractChannel, _client: str) -> None:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(b"{}"), routing_key, mandatory=False, timeout=10)

    return act


def publish_to_default_exchange(routing_key: str) -> Act:
    async def act(channel: AbstractChannel, _client: str) -> None:
        message = aio_pika.Message(b"{}")
        await channel.default_exchange.publish(message, routing_key, mandatory=False, timeout=10)

    return act


def consume(queue: str) -> Act:
    async def act(channel: AbstractChannel, _client: str) -> None:
        await (await channel.get_queue(queue, ensure=False)).get(fail=False, timeout=10)

    return act


def subscribe(exchange: str, routing_key: str) -> Act:
    """Bind a queue of one's own; `{client}` in the key stands for one's own name."""

    async def act(channel: AbstractChannel, client: str) -> None:
        queue = await channel.declare_queue(f"carnet.{client}.x", exclusive=True, timeout=10)
        await queue.bind(exchange, routing_key.format(client=client), timeout=10)

    return act


def bind(queue: str, exchange: str, routing_key: str) -> Act:
    async def act(channel: AbstractChannel, _client: str) -> None:
        target = await channel.get_queue(queue, ensure=False)
        await target.bind(exchange, routing_key, timeout=10)

    return act


def unbind(queue: str, exchange: str, routing_key: str) -> Act:
    async def act(channel: AbstractChannel, _client: str) -> None:
        target = await channel.get_queue(queue, ensure=False)
        await target.unbind(exchange, routing_key, timeout=10)

    return act


def count(queue: str) -> Act:
    """RabbitMQ before 4.3 lets everybody do so."""

    async def act(channel: AbstractChannel, _client: str) -> None:
        await channel.declare_queue(queue, passive=True, timeout=10)

    return act


def declare_queue(name: str) -> Act:
    async def act(channel: AbstractChannel, client: str) -> None:
        await channel.declare_queue(name.format(client=client), exclusive=True, timeout=10)

    return act


def declare_exchange(name: str) -> Act:
    async def act(channel: AbstractChannel, _client: str) -> None:
        await channel.declare_exchange(name, "topic", durable=True, timeout=10)

    return act


def delete_queue(name: str) -> Act:
    async def act(channel: AbstractChannel, _client: str) -> None:
        await channel.queue_delete(name, timeout=10)

    return act


SHARDS = 14
"""Of the topology that the acts below are tried on."""

ALL = (USER_SERVICE, GATEWAY, ORDER_SERVICE, OPERATOR_DESK)

ACTS: Mapping[str, tuple[Act, tuple[str, ...]]] = {
    "place": (publish("carnet.commands", "orders.place"), (GATEWAY,)),
    "cancel": (publish("carnet.commands", "orders.cancel"), (GATEWAY,)),
    "another command": (publish("carnet.commands", "orders.placed"), ()),
    "a command with no key": (publish("carnet.commands", ""), ()),
    "a longer key": (publish("carnet.commands", "orders.place.x"), ()),
    "event": (publish("carnet.events", "orders.placed"), (ORDER_SERVICE,)),
    "another event": (publish("carnet.events", "orders.place"), ()),
    "ask": (publish("carnet.rpc", "users.rpc"), (GATEWAY, ORDER_SERVICE, OPERATOR_DESK)),
    "reply": (publish("carnet.reply", "carnet.api-gateway.x"), (USER_SERVICE, ORDER_SERVICE)),
    "reply to nobody known": (publish("carnet.reply", "carnet.mallory.x"), ()),
    "shard": (publish("orders.commands.shards", ""), ()),
    "what names no shard": (publish("orders.commands.unsharded", ""), ()),
    "retry": (
        publish("carnet.retry", "orders.commands.retry.1s"),
        (ORDER_SERVICE, OPERATOR_DESK),
    ),
    "release": (publish("carnet.retry", "orders.commands"), (ORDER_SERVICE, OPERATOR_DESK)),
    "dead letter": (publish("carnet.dead", "orders.commands.dead"), (ORDER_SERVICE,)),
    "ask the time": (publish("carnet.clock", "carnet.nobody.clock.x"), ALL),
    "hear the time": (subscribe("carnet.clock", "carnet.{client}.clock.x"), ALL),
    "tell trust": (publish("carnet.trust", ""), (USER_SERVICE,)),
    "default exchange, own queue": (publish_to_default_exchange("carnet.api-gateway.x"), ()),
    "default exchange, work": (publish_to_default_exchange("orders.commands"), ()),
    "amq.topic": (publish("amq.topic", "orders.place"), ()),
    "take work": (consume("orders.commands"), (ORDER_SERVICE,)),
    "take work of a shard": (consume("orders.commands.13"), (ORDER_SERVICE,)),
    "answer orders": (consume("orders.rpc"), (ORDER_SERVICE,)),
    "answer users": (consume("users.rpc"), (USER_SERVICE,)),
    "read dead letters": (consume("orders.commands.dead"), (OPERATOR_DESK,)),
    "take a retry": (consume("orders.commands.retry.1s"), ()),
    "count work": (count("orders.commands"), (ORDER_SERVICE, OPERATOR_DESK)),
    "count work of a shard": (count("orders.commands.13"), (ORDER_SERVICE, OPERATOR_DESK)),
    "count retries": (count("orders.commands.retry.10m"), (OPERATOR_DESK,)),
    "count dead letters": (count("orders.commands.dead"), (OPERATOR_DESK,)),
    "count requests": (count("users.rpc"), (USER_SERVICE, OPERATOR_DESK)),
    "hear trust": (subscribe("carnet.trust", ""), ALL),
    "hear events": (subscribe("carnet.events", "orders.placed"), (GATEWAY,)),
    "hear every event": (subscribe("carnet.events", "#"), ()),
    "hear commands": (subscribe("carnet.commands", "orders.place"), ()),
    "hear own replies": (
        subscribe("carnet.reply", "carnet.{client}.x"),
        (GATEWAY, ORDER_SERVICE, OPERATOR_DESK),
    ),
    "hear every reply": (subscribe("carnet.reply", "#"), ()),
    "rebind work": (bind("orders.commands", "carnet.events", "orders.placed"), ()),
    "have trust told to work": (bind("orders.commands", "carnet.trust", ""), (OPERATOR_DESK,)),
    "have commands go to work twice": (
        bind("orders.commands", "carnet.commands", "orders.place"),
        (),
    ),
    "take commands from work": (unbind("orders.commands", "carnet.commands", "orders.place"), ()),
    "take retries from work": (unbind("orders.commands", "carnet.retry", "orders.commands"), ()),
    "own queue": (declare_queue("carnet.{client}.x"), ALL),
    "stolen name": (declare_queue("carnet.mallory.x"), ()),
    "new queue": (declare_queue("orders.other"), ()),
    "new exchange": (declare_exchange("carnet.other"), ()),
    "delete work": (delete_queue("orders.commands"), ()),
    "delete dead letters": (delete_queue("orders.commands.dead"), ()),
}


HIDES: Final = (4, 2, 6)
"""The version of RabbitMQ from which on it counts a queue only for who has some right to it."""


def allowed_to(client: str, version: tuple[int, ...]) -> set[str]:
    """What a client may do."""
    return {
        name
        for name, (_, clients) in ACTS.items()
        if client in clients or (name.startswith("count ") and version < HIDES)
    }


def version_of(connection: AbstractConnection) -> tuple[int, ...]:
    """The broker's, as it tells whoever connects."""
    transport = connection.transport
    assert transport is not None
    told = transport.connection.server_properties["version"]
    assert isinstance(told, str | bytes)
    text = told if isinstance(told, str) else told.decode()
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


@pytest_asyncio.fixture
async def doors(conformance_broker: RunningBroker) -> AsyncIterator[VhostBroker]:
    async with conformance_broker.stack_vhost(shards=SHARDS) as stack_broker:
        yield stack_broker


@pytest.mark.parametrize("client", ALL)
async def test_a_login_may_do_its_job_and_nothing_else(doors: VhostBroker, client: str) -> None:
    connection = await aio_pika.connect(doors.url(client))
    version = version_of(connection)

    did = set()
    for name, (act, _) in ACTS.items():
        async with await connection.channel() as channel:
            try:
                await act(channel, client)
                did.add(name)
            except ChannelAccessRefused:
                pass
    await connection.close()

    assert did == allowed_to(client, version)


@pytest.mark.parametrize(
    ("client", "topology"),
    [
        (USER_SERVICE, USERS_TOPOLOGY),
        (GATEWAY, GATEWAY_TOPOLOGY),
        (ORDER_SERVICE, orders_topology(SHARDS)),
        (OPERATOR_DESK, CONSOLE_TOPOLOGY),
    ],
    ids=ALL,
)
async def test_a_service_starts_on_a_topology_that_it_may_not_declare(
    doors: VhostBroker, client: str, topology: Topology
) -> None:
    broker = await Broker(doors.url(client), name=client).start(10)

    await declare(broker, topology, deadline=30)

    assert broker.connected
    await broker.close(5)


async def test_a_topology_that_misses_what_a_service_works_with_is_named(
    doors: VhostBroker,
) -> None:
    async with doors.broker.management() as api:
        (await api.delete(f"/queues/{doors.vhost}/users.rpc")).raise_for_status()
    broker = await Broker(doors.url(USER_SERVICE), name=USER_SERVICE).start(10)

    with pytest.raises(MissingTopologyError, match=r"users\.rpc"):
        await declare(broker, USERS_TOPOLOGY, deadline=30)

    await broker.close(5)
