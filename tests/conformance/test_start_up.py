"""What is asked of a broker before a service works with it, on each kind of broker."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from messaging.broker import Broker
from messaging.broker_clock import Skew, examine_clock, judge_skew, measure_skew
from messaging.broker_version import judge_version
from messaging.errors import TopologyMismatchError
from messaging.findings import Verdict
from messaging.topology import CLOCK
from services.contracts.rights import RIGHTS
from services.contracts.topology import (
    GATEWAY,
    ORDER_SERVICE,
    ORDERS_COMMANDS,
    ORDERS_TOPOLOGY,
    TOPOLOGY,
)
from services.errors import StartError
from services.local.broker import make_sure
from services.local.definitions import stack_definitions
from services.local.logins import OPERATOR
from services.startup import require_broker
from tests.brokers import RunningBroker, VhostBroker
from tests.messaging.raw import WAIT, raw_channel
from tests.messaging.wire import wire_to


@pytest_asyncio.fixture
async def doors(conformance_broker: RunningBroker) -> AsyncIterator[VhostBroker]:
    """The topology, and each service's login with just its rights."""
    async with conformance_broker.stack_vhost() as stack_broker:
        yield stack_broker


async def test_its_version_is_one_that_we_run_on(conformance_amqp_url: str) -> None:
    broker = await Broker(conformance_amqp_url, name="test").start(WAIT)

    found = judge_version(broker.consuming.server)
    await broker.close(WAIT)

    assert found.verdict is Verdict.OK
    assert judge_version(broker.consuming.server).verdict is Verdict.FAIL  # says nothing any more


@pytest.mark.parametrize("client", RIGHTS)
async def test_each_login_may_compare_its_clock_and_leaves_nothing_behind(
    doors: VhostBroker, client: str
) -> None:
    broker = await Broker(doors.url(client), name=client).start(WAIT)

    skew = await measure_skew(broker, client_id=client, clock=time.time, deadline=WAIT)

    assert skew.low <= 0 <= skew.high  # one machine, one clock
    assert skew.high - skew.low < 2
    async with doors.broker.management() as api:
        queues = (await api.get(f"/queues/{doors.vhost}")).raise_for_status().json()
    assert not [queue["name"] for queue in queues if ".clock." in queue["name"]]
    await broker.close(WAIT)


@pytest.mark.parametrize(
    ("seconds", "verdict", "said"),
    [
        (0, Verdict.OK, "agrees with the broker's"),
        (3, Verdict.OK, "agrees with the broker's"),
        (12, Verdict.WARN, "s ahead of the broker's; set both by NTP before"),
        (-12, Verdict.WARN, "s behind the broker's; set both by NTP before"),
        (40, Verdict.FAIL, "s ahead of the broker's, 30 s at most are borne; set both by NTP"),
        (-40, Verdict.FAIL, "s behind the broker's, 30 s at most are borne; set both by NTP"),
    ],
)
async def test_a_clock_that_is_off_is_found(
    doors: VhostBroker, seconds: float, verdict: Verdict, said: str
) -> None:
    broker = await Broker(doors.url(GATEWAY), name=GATEWAY).start(WAIT)

    found = await examine_clock(broker, client_id=GATEWAY, clock=lambda: time.time() + seconds)
    await broker.close(WAIT)

    assert found.verdict is verdict
    assert said in found.detail


def test_whole_seconds_make_nobody_late() -> None:
    """The broker says 100 from 100.0 to 100.999."""
    assert Skew.between(100.9, 100, 100.95).certain == 0
    assert Skew.between(100.2, 99, 100.3).certain == pytest.approx(0.2)
    assert Skew.between(100.2, 102, 100.3).certain == pytest.approx(-1.7)
    assert judge_skew(Skew.between(131.5, 100, 131.6), "the broker's").verdict is Verdict.FAIL
    assert judge_skew(Skew.between(130.5, 100, 131.5), "the broker's").verdict is Verdict.WARN


async def test_a_login_without_the_right_starts_with_a_warning(doors: VhostBroker) -> None:
    """As the definitions of an earlier version made it."""
    async with doors.broker.management() as api:
        path = f"/permissions/{doors.vhost}/{ORDER_SERVICE}"
        rights = (await api.get(path)).raise_for_status().json()
        narrowed = {
            what: rights[what].replace("carnet\\.clock", "nothing")
            for what in ("configure", "write", "read")
        }
        assert narrowed["write"] != rights["write"]
        (await api.put(path, json=narrowed)).raise_for_status()
    broker = await Broker(doors.url(ORDER_SERVICE), name=ORDER_SERVICE).start(WAIT)

    found = await examine_clock(broker, client_id=ORDER_SERVICE, clock=time.time)

    assert found.verdict is Verdict.WARN
    assert CLOCK.name in found.detail
    assert broker.connected
    await broker.close(WAIT)


async def test_a_broker_that_takes_no_message_delays_no_start_for_long(
    conformance_amqp_url: str,
) -> None:
    """As while it is short of memory: it stops reading from whoever publishes."""
    async with wire_to(conformance_amqp_url) as wire:
        broker = await Broker(wire.url, name="test").start(WAIT)
        await require_broker(
            broker, ORDERS_TOPOLOGY, client_id=ORDER_SERVICE, clock=time.time, deadline=WAIT
        )
        wire.hold()

        found = await examine_clock(broker, client_id="test", clock=time.time, deadline=1)

        assert found.verdict is Verdict.WARN
        assert "takes no message now" in found.detail
        wire.cut()
        await broker.close(WAIT)


async def test_a_clock_that_is_off_ends_the_start(conformance_amqp_url: str) -> None:
    broker = await Broker(conformance_amqp_url, name="test").start(WAIT)

    with pytest.raises(StartError, match="s ahead of the broker's"):
        await require_broker(
            broker,
            ORDERS_TOPOLOGY,
            client_id=ORDER_SERVICE,
            clock=lambda: time.time() + 60,
            deadline=WAIT,
        )
    await broker.close(WAIT)


async def test_a_queue_that_is_declared_otherwise_ends_the_start(conformance_amqp_url: str) -> None:
    """Made by hand, without the limit that keeps poison from going round for ever."""
    async with raw_channel(conformance_amqp_url) as raw:
        (work, *_) = ORDERS_COMMANDS.queues()
        arguments: dict[str, Any] = {**work.arguments, "x-delivery-limit": 20}
        await raw.channel.declare_exchange("carnet.dead", "direct", durable=True)
        await raw.channel.declare_queue(work.name, durable=True, arguments=arguments)
    broker = await Broker(conformance_amqp_url, name="test").start(WAIT)

    with pytest.raises(TopologyMismatchError) as caught:
        await require_broker(
            broker, ORDERS_TOPOLOGY, client_id=ORDER_SERVICE, clock=time.time, deadline=WAIT
        )
    await broker.close(WAIT)

    assert caught.value.detail.startswith(
        "queue 'orders.commands' is declared otherwise: x-delivery-limit is 20 and must be 1000; "
    )


async def test_definitions_leave_what_is_there_as_it_was_and_the_stack_notices(
    conformance_broker: RunningBroker, conformance_vhost: str
) -> None:
    """As after an upgrade of Carnet, on the data that its broker has kept."""
    url = conformance_broker.url(conformance_vhost)
    (_, dead, *_) = ORDERS_COMMANDS.queues()
    earlier: dict[str, Any] = {**dead.arguments, "x-delivery-limit": 5}
    async with raw_channel(url) as raw:
        await raw.channel.declare_queue(dead.name, durable=True, arguments=earlier)
    definitions = stack_definitions(conformance_broker.logins, conformance_vhost)
    async with conformance_broker.management() as api:
        (await api.post("/definitions", json=definitions)).raise_for_status()

    with pytest.raises(TopologyMismatchError, match="x-delivery-limit is 5 and must be"):
        await make_sure(url, TOPOLOGY, within=WAIT)


async def test_a_stack_makes_anew_what_was_taken_from_its_broker(doors: VhostBroker) -> None:
    """A binding among it: without this one, whatever is refused would be lost."""
    binding = f"/bindings/{doors.vhost}/e/carnet.dead/q/{ORDERS_COMMANDS.dead}"
    async with doors.broker.management() as api:
        (await api.delete(f"{binding}/{ORDERS_COMMANDS.dead}")).raise_for_status()
        assert (await api.get(binding)).json() == []

        await make_sure(doors.url(OPERATOR), TOPOLOGY, within=WAIT)

        assert len((await api.get(binding)).json()) == 1
