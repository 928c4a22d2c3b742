"""Publishing when the broker is slow, away, or says no."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.errors import (
    BacklogFullError,
    BrokerUnavailableError,
    CutOffError,
    LateError,
    MessagingError,
    MissingTopologyError,
    NackedError,
    OversizedHeadersError,
    PublishForbiddenError,
    UnroutableError,
)
from messaging.publisher import Publisher
from messaging.topology import COMMANDS, Binding, Queue, Topology, declare
from services.local.logins import Login
from tests.brokers import RunningBroker
from tests.messaging.market import GATEWAY, TOPOLOGY, WORK, Sold, sell
from tests.messaging.raw import WAIT, Raw, until
from tests.messaging.wire import Wire


async def test_hundreds_are_published_at_once(publisher: Publisher, raw: Raw) -> None:
    envelopes = [sell().envelope for _ in range(300)]

    await asyncio.gather(*(publisher.publish(e, deadline=WAIT) for e in envelopes))

    assert await raw.count(WORK.name) == 300


async def test_without_a_connection_it_fails_within_the_deadline(
    publisher: Publisher, link: Broker, wire: Wire
) -> None:
    wire.dead = True
    wire.cut()
    await until(lambda: not link.connected)

    async with asyncio.timeout(5):
        results = await asyncio.gather(
            *(publisher.publish(sell().envelope, deadline=0.2) for _ in range(5)),
            return_exceptions=True,
        )

    assert [type(result) for result in results] == [BrokerUnavailableError] * 5


async def test_what_is_cut_off_is_unknown_and_may_be_sent_again(
    publisher: Publisher, wire: Wire, raw: Raw
) -> None:
    envelopes = [sell().envelope for _ in range(200)]
    attempts = [asyncio.create_task(publisher.publish(e, deadline=WAIT)) for e in envelopes]
    await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)

    wire.cut()

    results = await asyncio.gather(*attempts, return_exceptions=True)
    failures = [result for result in results if result is not None]
    assert failures
    assert all(isinstance(e, (CutOffError, BrokerUnavailableError)) for e in failures)
    confirmed = len(results) - len(failures)
    assert await raw.count(WORK.name) >= confirmed

    await publisher.publish(envelopes[-1], deadline=WAIT)


async def test_a_broker_that_does_not_confirm_in_time_leaves_it_unknown(
    publisher: Publisher, wire: Wire
) -> None:
    await publisher.publish(sell().envelope, deadline=WAIT)
    wire.hold()

    with pytest.raises(LateError):
        await publisher.publish(sell().envelope, deadline=0.2)


async def test_what_the_connection_does_not_take_is_not_written_without_bound(
    publisher: Publisher, wire: Wire, raw: Raw
) -> None:
    """36 MB for a connection that is stuck: what the system does not hold is not sent later."""
    await publisher.publish(sell().envelope, deadline=WAIT)
    wire.hold()
    large = replace(sell().envelope, body=b"x" * 60_000)

    late = await asyncio.gather(
        *(publisher.publish(large, deadline=1) for _ in range(600)), return_exceptions=True
    )

    assert {type(error) for error in late} == {LateError}
    wire.release()
    await publisher.publish(sell().envelope, deadline=60)  # confirmed after all before it
    assert await raw.count(WORK.name) < 400


@pytest_asyncio.fixture
async def one_too_many(publisher: Publisher, link: Broker) -> Envelope:
    """An envelope to a queue that is full, so that the broker nacks it."""
    arguments: dict[str, str | int] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    full = Topology(
        queues=(Queue("full", arguments),), bindings=(Binding("full", COMMANDS.name, "full"),)
    )
    await declare(link, full, deadline=WAIT)
    envelope = replace(sell().envelope, route=replace(sell().envelope.route, routing_key="full"))
    await publisher.publish(envelope, deadline=WAIT)
    return envelope


async def test_a_queue_that_is_full_refuses_to_confirm(
    publisher: Publisher, one_too_many: Envelope
) -> None:
    with pytest.raises(NackedError, match="refused to take"):
        await publisher.publish(one_too_many, deadline=WAIT)


async def test_after_a_nack_a_new_channel_is_used_and_the_old_one_closed(
    publisher: Publisher, one_too_many: Envelope, broker: RunningBroker, vhost: str
) -> None:
    async def channels() -> set[str]:
        """The open ones that publish."""
        async with broker.management() as api:
            listed = (await api.get(f"/vhosts/{vhost}/channels")).raise_for_status().json()
        return {channel["name"] for channel in listed if channel.get("confirm")}

    async with asyncio.timeout(WAIT):
        while not (before := await channels()):  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.1)

    with pytest.raises(NackedError):
        await publisher.publish(one_too_many, deadline=WAIT)
    await publisher.publish(sell().envelope, deadline=WAIT)

    async with asyncio.timeout(WAIT):
        while not (after := await channels()) or after & before:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.1)
    assert len(after) == 1


async def test_what_is_in_flight_beside_a_nack_keeps_its_own_outcome(
    publisher: Publisher, one_too_many: Envelope, raw: Raw
) -> None:
    envelopes = [one_too_many if number % 10 == 0 else sell().envelope for number in range(300)]

    results = await asyncio.gather(
        *(publisher.publish(e, deadline=WAIT) for e in envelopes), return_exceptions=True
    )

    outcomes = [type(result) for result in results]
    assert outcomes == [NackedError if e is one_too_many else type(None) for e in envelopes]
    assert await raw.count(WORK.name) == outcomes.count(type(None))


async def test_many_under_one_deadline_have_an_outcome_each(
    publisher: Publisher, one_too_many: Envelope, raw: Raw
) -> None:
    good = sell().envelope
    unheard = replace(good, route=replace(good.route, routing_key="nobody.listens"))
    oversized = replace(good, headers={"carnet-seal": "x" * 20_000})

    failures = await publisher.publish_all(
        [good, one_too_many, unheard, good, oversized], deadline=WAIT
    )

    kinds = [type(None), NackedError, UnroutableError, type(None), OversizedHeadersError]
    assert [type(failure) for failure in failures] == kinds
    assert await raw.count(WORK.name) == 2


async def test_of_many_those_without_a_place_are_refused_and_the_others_published(
    link: Broker, raw: Raw
) -> None:
    publisher = Publisher(link, client_id=GATEWAY, limit=5)

    failures = await publisher.publish_all([sell().envelope for _ in range(8)], deadline=WAIT)

    assert [type(failure) for failure in failures] == [type(None)] * 5 + [BacklogFullError] * 3
    assert await raw.count(WORK.name) == 5
    await publisher.publish_all([sell().envelope for _ in range(5)], deadline=WAIT)


async def test_many_that_are_not_confirmed_in_time_are_all_unknown(
    publisher: Publisher, wire: Wire
) -> None:
    await publisher.publish(sell().envelope, deadline=WAIT)
    wire.hold()

    async with asyncio.timeout(5):
        failures = await publisher.publish_all([sell().envelope for _ in range(9)], deadline=0.2)

    assert [type(failure) for failure in failures] == [LateError] * 9


async def test_more_than_the_backlog_holds_is_refused_at_once(
    link: Broker, wire: Wire, raw: Raw
) -> None:
    """Those with a place wait for the broker, and are published when it is back in time."""
    publisher = Publisher(link, client_id=GATEWAY, limit=5)
    wire.dead = True
    wire.cut()
    await until(lambda: not link.connected)
    attempts = [
        asyncio.create_task(publisher.publish(sell().envelope, deadline=WAIT)) for _ in range(20)
    ]

    refused, waiting = await asyncio.wait(attempts[5:], timeout=WAIT)
    assert not waiting
    assert [type(task.exception()) for task in refused] == [BacklogFullError] * 15
    assert not any(task.done() for task in attempts[:5])
    wire.dead = False

    await asyncio.gather(*attempts[:5])
    assert await raw.count(WORK.name) == 5
    await publisher.publish(sell().envelope, deadline=WAIT)


async def test_confirms_that_the_broker_owes_us_are_bounded_too(
    link: Broker, wire: Wire, raw: Raw
) -> None:
    """As with a queue that has lost its majority: nobody waits any more, but it may yet come."""
    publisher = Publisher(link, client_id=GATEWAY, limit=5)
    await publisher.publish(sell().envelope, deadline=WAIT)
    wire.hold()
    for _ in range(2):
        late = await asyncio.gather(
            *(publisher.publish(sell().envelope, deadline=0.2) for _ in range(5)),
            return_exceptions=True,
        )
        assert [type(error) for error in late] == [LateError] * 5

    with pytest.raises(BacklogFullError, match="10 messages unconfirmed"):
        await publisher.publish(sell().envelope, deadline=WAIT)
    wire.release()
    await raw.until_count(WORK.name, 11)

    await publisher.publish(sell().envelope, deadline=WAIT)


async def test_copies_to_other_queues_are_never_sent() -> None:
    with pytest.raises(ValueError, match="CC and BCC"):
        replace(sell().envelope, headers={"cc": "elsewhere"})


# A login that may do little


@pytest_asyncio.fixture
async def humble_url(broker: RunningBroker, vhost: str, link: Broker) -> AsyncIterator[str]:
    """A login that may declare nothing, and publish nothing but commands for the market."""
    del link
    login = Login.generate("humble")
    async with broker.management() as api:
        await api.put(f"/users/{login.name}", json={"password": login.password, "tags": ""})
        rights = {"configure": "^$", "write": "^carnet\\.commands$", "read": ".*"}
        (await api.put(f"/permissions/{vhost}/{login.name}", json=rights)).raise_for_status()
        topics = {"exchange": "carnet.commands", "write": "^market\\.", "read": ".*"}
        (await api.put(f"/topic-permissions/{vhost}/{login.name}", json=topics)).raise_for_status()
        yield broker.url(vhost, login)
        await api.delete(f"/users/{login.name}")


@pytest_asyncio.fixture
async def humble(humble_url: str) -> AsyncIterator[Broker]:
    broker = Broker(humble_url, name="humble")
    await broker.start(WAIT)
    yield broker
    await broker.close(WAIT)


async def test_a_login_that_may_not_declare_is_content_with_what_is_there(humble: Broker) -> None:
    await declare(humble, TOPOLOGY, deadline=WAIT)


async def test_a_login_that_may_not_declare_is_told_what_is_missing(humble: Broker) -> None:
    with pytest.raises(MissingTopologyError, match=r"queue 'not\.there'"):
        await declare(humble, Topology(queues=(Queue("not.there"),)), deadline=WAIT)


async def test_a_login_that_may_not_publish_somewhere_is_told_so(humble: Broker) -> None:
    publisher = Publisher(humble, client_id=GATEWAY)
    elsewhere = replace(sell().envelope, route=Sold.route)

    with pytest.raises(PublishForbiddenError, match=r"carnet\.events"):
        await publisher.publish(elsewhere, deadline=WAIT)

    await publisher.publish(sell().envelope, deadline=WAIT)


async def test_only_the_publish_at_fault_is_forbidden(humble: Broker) -> None:
    """The broker closes the channel, and with it those that were merely in flight."""
    publisher = Publisher(humble, client_id=GATEWAY)
    envelopes = [sell().envelope for _ in range(10)]
    envelopes[5] = replace(
        envelopes[5], route=replace(envelopes[5].route, routing_key="other.thing")
    )

    results = await asyncio.gather(
        *(publisher.publish(e, deadline=WAIT) for e in envelopes), return_exceptions=True
    )

    assert isinstance(results[5], PublishForbiddenError)
    others = [result for number, result in enumerate(results) if number != 5]
    assert not any(isinstance(result, PublishForbiddenError) for result in others)
    assert all(result is None or isinstance(result, MessagingError) for result in others)
