"""What any broker must do for us, on each kind of broker that we say we run on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import aio_pika
import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.errors import (
    BrokerLoginError,
    MissingTopologyError,
    OversizedHeadersError,
    TopologyMismatchError,
    UnroutableError,
    VirtualHostError,
)
from messaging.pause import first_of
from messaging.publisher import Publisher
from messaging.subscription import Subscription, exclusive_queue, listening_queue, shared_queue
from messaging.topology import (
    COMMANDS,
    EVENTS,
    NO_LIMIT,
    REPLY,
    RETRY,
    Binding,
    Exchange,
    Queue,
    Topology,
    declare,
)
from tests.brokers import RunningBroker
from tests.messaging.market import GATEWAY, QUESTIONS, TOPOLOGY, WORK, AskPrice, sell
from tests.messaging.raw import WAIT, Raw, raw_channel, until


@pytest_asyncio.fixture
async def link(conformance_amqp_url: str) -> AsyncIterator[Broker]:
    broker = Broker(conformance_amqp_url, name="conformance")
    await broker.start(WAIT)
    await declare(broker, TOPOLOGY, deadline=WAIT)
    yield broker
    await broker.close(WAIT)


@pytest_asyncio.fixture
async def publisher(link: Broker) -> Publisher:
    return Publisher(link, client_id=GATEWAY)


@pytest_asyncio.fixture
async def raw(conformance_amqp_url: str, link: Broker) -> AsyncIterator[Raw]:
    del link
    async with raw_channel(conformance_amqp_url) as raw:
        yield raw


async def test_a_published_message_is_confirmed_and_stored(publisher: Publisher, raw: Raw) -> None:
    message = sell().envelope

    await publisher.publish(message, deadline=WAIT)

    stored = await raw.next(WORK.name)
    assert stored.body == message.body
    assert stored.type == "market.sell.v1"
    assert stored.app_id == GATEWAY
    assert stored.content_type == "application/json"
    assert stored.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert set(stored.headers) == {"authorization", "carnet-seal"}
    assert stored.timestamp is not None


async def test_each_attempt_has_a_message_id_of_its_own(publisher: Publisher, raw: Raw) -> None:
    message = sell().envelope

    await publisher.publish(message, deadline=WAIT)
    await publisher.publish(message, deadline=WAIT)

    first, second = await raw.next(WORK.name), await raw.next(WORK.name)
    assert first.message_id != second.message_id
    assert first.headers == second.headers


async def test_a_message_that_no_queue_takes_is_an_error(publisher: Publisher) -> None:
    message = sell().envelope
    lost = replace(message, route=replace(message.route, routing_key="nobody.listens"))

    with pytest.raises(UnroutableError):
        await publisher.publish(lost, deadline=WAIT)


async def test_a_missing_exchange_is_an_error_and_the_next_message_goes_through(
    publisher: Publisher, raw: Raw
) -> None:
    message = sell().envelope
    lost = replace(message, route=replace(message.route, exchange="carnet.missing"))

    with pytest.raises(UnroutableError, match="no exchange"):
        await publisher.publish(lost, deadline=WAIT)
    await publisher.publish(message, deadline=WAIT)

    assert (await raw.next(WORK.name)).body == message.body


async def test_one_unroutable_message_among_many_is_the_only_one_to_fail(
    publisher: Publisher, raw: Raw
) -> None:
    messages = [sell().envelope for _ in range(50)]
    messages[20] = replace(
        messages[20], route=replace(messages[20].route, routing_key="nobody.listens")
    )

    results = await asyncio.gather(
        *(publisher.publish(message, deadline=WAIT) for message in messages),
        return_exceptions=True,
    )

    assert [type(result) for result in results if result is not None] == [UnroutableError]
    assert isinstance(results[20], UnroutableError)
    assert await raw.count(WORK.name) == 49


async def test_more_than_16_kib_of_headers_never_leave(publisher: Publisher, raw: Raw) -> None:
    message = sell().envelope
    heavy = replace(message, headers={**message.headers, "carnet-note": "x" * 16 * 1024})

    with pytest.raises(OversizedHeadersError):
        await publisher.publish(heavy, deadline=WAIT)

    assert await raw.count(WORK.name) == 0


async def test_declaring_twice_changes_nothing(link: Broker) -> None:
    await declare(link, TOPOLOGY, deadline=WAIT)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ({"x-delivery-limit": 20}, "x-delivery-limit is 1000 and must be 20"),
        ({"x-max-length": 5}, "x-max-length is missing and must be 5"),
        (
            {"x-dead-letter-exchange": "elsewhere"},
            "x-dead-letter-exchange is carnet.dead and must be elsewhere",
        ),
    ],
)
async def test_a_queue_with_other_arguments_is_named_with_the_difference(
    link: Broker, difference: dict[str, str | int], said: str
) -> None:
    (work, *_) = WORK.queues()
    other = Topology(queues=(replace(work, arguments={**work.arguments, **difference}),))

    with pytest.raises(TopologyMismatchError) as caught:
        await declare(link, other, deadline=WAIT)

    assert f"queue 'market.commands' is declared otherwise: {said};" in caught.value.detail
    assert "delete it" in caught.value.detail


async def test_a_queue_with_an_argument_too_many_is_named_with_it(link: Broker) -> None:
    (work, *_) = WORK.queues()
    fewer = {name: each for name, each in work.arguments.items() if name != "x-delivery-limit"}

    with pytest.raises(TopologyMismatchError, match="x-delivery-limit is 1000 and must not be"):
        await declare(link, Topology(queues=(Queue(WORK.name, fewer),)), deadline=WAIT)


async def test_an_exchange_of_another_kind_is_named_with_the_difference(link: Broker) -> None:
    other = Topology(exchanges=(Exchange(COMMANDS.name, "fanout"),))

    with pytest.raises(TopologyMismatchError, match="type is topic and must be fanout"):
        await declare(link, other, deadline=WAIT)


async def test_a_binding_to_a_missing_queue_is_named(link: Broker) -> None:
    with pytest.raises(MissingTopologyError, match=r"missing\.queue"):
        await declare(
            link,
            Topology(bindings=(Binding("missing.queue", RETRY.name, "x"),)),
            deadline=WAIT,
        )


async def test_a_message_returns_from_its_retry_queue_to_the_work_queue(
    publisher: Publisher, raw: Raw
) -> None:
    message = sell().envelope
    waiting = replace(
        message, route=replace(message.route, exchange=RETRY.name, routing_key=WORK.retries[0].name)
    )

    await publisher.publish(waiting, deadline=WAIT)

    returned = await raw.next(WORK.name)
    assert returned.body == message.body
    assert returned.headers["carnet-seal"] == message.headers["carnet-seal"]
    assert "x-death" in returned.headers


async def test_the_broker_knows_our_delivery_limit_and_at_least_once_dead_lettering(
    conformance_broker: RunningBroker, conformance_vhost: str, link: Broker
) -> None:
    del link
    async with conformance_broker.management() as api:
        answer = await api.get(f"/queues/{conformance_vhost}")
    arguments = {queue["name"]: queue["arguments"] for queue in answer.json()}
    assert arguments[WORK.name]["x-delivery-limit"] == 1000
    assert arguments[WORK.name]["x-queue-type"] == "quorum"
    assert arguments[WORK.dead]["x-delivery-limit"] == NO_LIMIT
    assert arguments[WORK.retries[-1].name]["x-message-ttl"] == 600_000
    assert arguments[WORK.retries[-1].name]["x-dead-letter-strategy"] == "at-least-once"
    assert arguments[QUESTIONS]["x-queue-type"] == "quorum"
    assert arguments[QUESTIONS]["x-message-ttl"] == 60_000


async def test_what_the_broker_itself_rejects_lies_in_the_dead_letter_queue(raw: Raw) -> None:
    """The backstop: a message beyond the delivery limit, or rejected, is not lost."""
    await raw.publish("carnet.commands", "market.sell", b"poison")
    source = await raw.channel.get_queue(WORK.name, ensure=False)
    async with source.iterator(timeout=WAIT) as messages:
        async for message in messages:
            await message.reject(requeue=False)
            break

    assert (await raw.next(WORK.dead)).body == b"poison"


async def test_a_dead_letter_may_be_looked_at_again_and_again(
    conformance_amqp_url: str, link: Broker, raw: Raw
) -> None:
    """RabbitMQ 4 drops, unless it is told otherwise, what 20 lost channels had in hand."""
    del link
    await raw.publish("carnet.dead", WORK.dead, b"dead")
    for _ in range(25):
        async with raw_channel(conformance_amqp_url) as looker:
            queue = await looker.channel.get_queue(WORK.dead, ensure=False)
            await looker.until_count(WORK.dead, 1)
            await queue.get(timeout=WAIT)

    assert (await raw.next(WORK.dead)).body == b"dead"


async def test_an_expired_request_is_dropped_unread(publisher: Publisher, raw: Raw) -> None:
    request = Envelope(
        route=AskPrice.route, body=b"{}", reply_to="x", expiration=0.05, persistent=False
    )

    await publisher.publish(request, deadline=WAIT)

    await raw.until_count(QUESTIONS, 0)


async def test_a_reply_queue_is_its_own_process_s_alone(link: Broker, raw: Raw) -> None:
    shutdown = asyncio.Event()
    replies = Subscription(link, exclusive_queue("carnet.api-gateway", REPLY), prefetch=10)
    running = asyncio.create_task(replies.run(shutdown))
    try:
        registration = await replies.wait_until_ready(WAIT)
        assert registration.queue.startswith("carnet.api-gateway.")

        await raw.publish(REPLY.name, registration.queue, b"hello")
        delivery = await replies.next()
        assert delivery is not None
        assert delivery.body == b"hello"
        await delivery.ack()

        with pytest.raises(aio_pika.exceptions.ChannelClosed):
            await raw.channel.declare_queue(registration.queue, passive=True)
    finally:
        shutdown.set()
        await running
        await replies.close()


async def test_a_listener_s_queue_hears_what_is_published_to_many_and_goes_with_it(
    link: Broker, raw: Raw
) -> None:
    shutdown = asyncio.Event()
    heard = Subscription(
        link, listening_queue("carnet.api-gateway.events", EVENTS, ["market.*"]), prefetch=10
    )
    running = asyncio.create_task(heard.run(shutdown))
    try:
        registration = await heard.wait_until_ready(WAIT)
        await raw.publish(EVENTS.name, "market.sold", b"hello")
        delivery = await heard.next()
        assert delivery is not None
        assert delivery.body == b"hello"
        await delivery.ack()
        await raw.channel.declare_queue(registration.queue, passive=True)
    finally:
        shutdown.set()
        await running
        await heard.close()

    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await raw.channel.declare_queue(registration.queue, passive=True)


async def test_an_unacknowledged_message_is_delivered_again(
    link: Broker, publisher: Publisher, raw: Raw
) -> None:
    message = sell().envelope
    await publisher.publish(message, deadline=WAIT)
    shutdown = asyncio.Event()
    work = Subscription(link, shared_queue(WORK.name), prefetch=10)
    running = asyncio.create_task(work.run(shutdown))
    first = await work.next()
    assert first is not None

    shutdown.set()
    await running
    await work.close()

    again = await raw.next(WORK.name)
    assert again.redelivered
    assert again.body == message.body


async def test_a_consumer_is_back_after_the_broker_closed_its_connection(
    conformance_broker: RunningBroker,
    conformance_vhost: str,
    link: Broker,
    publisher: Publisher,
) -> None:
    shutdown = asyncio.Event()
    work = Subscription(link, shared_queue(WORK.name), prefetch=10)
    running = asyncio.create_task(work.run(shutdown))
    try:
        registration = await work.wait_until_ready(WAIT)
        await _close_connections(conformance_broker, conformance_vhost)
        assert await first_of(registration.lost, timeout=WAIT)
        assert not work.ready

        await work.wait_until_ready(WAIT)
        message = sell().envelope
        await publisher.publish(message, deadline=WAIT)
        delivery = await work.next()
        assert delivery is not None
        assert delivery.body == message.body
    finally:
        shutdown.set()
        await running
        await work.close()


async def _close_connections(broker: RunningBroker, vhost: str) -> None:
    """Close both connections of the virtual host, once the broker's statistics list them."""
    async with broker.management() as api, asyncio.timeout(WAIT):
        names: list[str] = []
        while len(names) < 2:
            answer = await api.get(f"/vhosts/{vhost}/connections")
            names = [connection["name"] for connection in answer.json()]
        for name in names:
            (await api.delete(f"/connections/{name}")).raise_for_status()


async def test_a_consumer_whose_queue_is_deleted_is_not_ready_until_it_is_back(
    link: Broker, raw: Raw
) -> None:
    shutdown = asyncio.Event()
    work = Subscription(link, shared_queue(WORK.name), prefetch=10)
    running = asyncio.create_task(work.run(shutdown))
    try:
        registration = await work.wait_until_ready(WAIT)

        await raw.channel.queue_delete(WORK.name)
        assert await first_of(registration.lost, timeout=WAIT)
        await until(lambda: link.connected)
        assert not work.ready

        await declare(link, TOPOLOGY, deadline=WAIT)
        await work.wait_until_ready(WAIT)
    finally:
        shutdown.set()
        await running
        await work.close()


async def test_a_wrong_password_is_said_at_once(conformance_amqp_url: str) -> None:
    user, _, rest = conformance_amqp_url.removeprefix("amqp://").partition(":")
    wrong = f"amqp://{user}:the-wrong-one@{rest.partition('@')[2]}"

    with pytest.raises(BrokerLoginError) as caught:
        await Broker(wrong, name="test").start(WAIT)

    assert "wrong name or password" in caught.value.detail
    assert "the-wrong-one" not in caught.value.detail


async def test_a_missing_virtual_host_is_said_at_once(conformance_amqp_url: str) -> None:
    with pytest.raises(VirtualHostError, match="no-such-host"):
        await Broker(f"{conformance_amqp_url.rpartition('/')[0]}/no-such-host", name="test").start(
            WAIT
        )
