"""Connections that break and processes that stop: nothing lost, nothing done twice."""

import asyncio
import time

from sqlalchemy import select

from messaging.broker import Broker
from messaging.pause import first_of
from messaging.topology import declare
from tests.messaging.market import TOPOLOGY, WORK, Sell, sell
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import SALES, TABLES, Stall
from tests.messaging.wire import Wire


class Gate:
    """A handler that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _: Sell) -> None:
        self.entered.set()
        await self.opened.wait()

    async def until_entered(self) -> None:
        assert await first_of(self.entered, timeout=WAIT)


async def test_at_shutdown_what_runs_is_finished_and_the_rest_given_back_in_order(
    stall: Stall,
) -> None:
    gate = Gate()
    stall.before = gate
    messages = [sell(f"tea {number}") for number in range(10)]
    await stall.send(*messages)
    await stall.open(concurrency=1)
    await gate.until_entered()
    await until(lambda: stall.waiting() == 10)

    stall.shutdown.set()
    gate.opened.set()
    await stall.close()

    assert await stall.sales() == ["tea 0"]
    rest = [(await stall.raw.next(WORK.name)).body for _ in range(9)]
    assert rest == [message.envelope.body for message in messages[1:]]


async def test_at_shutdown_what_waits_its_turn_is_given_back_unstarted(stall: Stall) -> None:
    gate = Gate()
    stall.before = gate
    messages = [sell().but(command=Sell(what=str(n), lot="7")) for n in range(5)]
    await stall.send(*messages)
    await stall.open(concurrency=4)
    await gate.until_entered()
    await until(lambda: stall.waiting() == 5)

    stall.shutdown.set()
    gate.opened.set()
    await stall.close()

    assert stall.starts == ["0"]
    assert await stall.sales() == ["0"]
    rest = [(await stall.raw.next(WORK.name)).body for _ in range(4)]
    assert rest == [message.envelope.body for message in messages[1:]]


async def test_a_handler_that_outlives_the_drain_is_undone_and_its_message_given_back(
    stall: Stall,
) -> None:
    gate = Gate()
    stall.before = gate
    await stall.send(sell("tea"))
    await stall.open(drain=0.2)
    await gate.until_entered()

    await stall.close()

    assert await stall.sales() == []
    assert await stall.rows(TABLES.inbox) == 0
    assert (await stall.raw.next(WORK.name)).redelivered


async def test_a_broker_that_is_silent_does_not_hold_up_the_shutdown(
    stall: Stall, wire: Wire
) -> None:
    stall.trust.silent = True
    await stall.send(sell("tea"), sell("milk"))
    await stall.open(drain=0.2)
    await until(lambda: stall.waiting() == 2)

    wire.hold()

    await stall.close()


async def test_a_consumer_that_waits_for_trust_stops_at_once(stall: Stall) -> None:
    stall.trust.silent = True
    await stall.send(sell("tea"))
    await stall.open()
    await until(lambda: stall.waiting() == 1)

    await stall.close()

    await stall.raw.until_count(WORK.name, 1)


async def test_a_connection_that_breaks_while_a_command_is_handled_repeats_nothing(
    any_stall: Stall, wire: Wire
) -> None:
    stall = any_stall
    gate = Gate()
    stall.before = gate
    await stall.send(sell("tea"))
    await stall.open()
    await gate.until_entered()

    wire.cut()
    await until(lambda: not stall.consumer.ready)
    gate.opened.set()

    await stall.settled(2)
    assert await stall.sales() == ["tea"]
    assert stall.starts == ["tea"]
    assert await stall.raw.count(WORK.name) == 0


async def test_commands_survive_a_wire_that_is_cut_again_and_again(
    stall: Stall, wire: Wire
) -> None:
    messages = [sell() for _ in range(100)]
    await stall.send(*messages)
    cuts = 0

    async def cut_now_and_then(_: Sell) -> None:
        nonlocal cuts
        if len(stall.starts) // 20 > cuts:
            cuts += 1
            wire.cut()

    stall.before = cut_now_and_then
    await stall.open()

    sold = sorted(m.command.what for m in messages if isinstance(m.command, Sell))
    await until(lambda: set(stall.starts) >= set(sold) and stall.consumer.ready)
    await until(lambda: stall.waiting() == 0)
    assert cuts >= 4
    assert await stall.sales() == sold
    assert await stall.raw.count(WORK.dead) == 0


async def test_a_consumer_is_ready_only_while_it_consumes(stall: Stall, wire: Wire) -> None:
    assert not stall.consumer.ready
    await stall.open()
    await until(lambda: stall.consumer.ready)

    wire.dead = True
    wire.cut()
    await until(lambda: not stall.consumer.ready)

    wire.dead = False
    await until(lambda: stall.consumer.ready)

    await stall.close()
    assert not stall.consumer.ready


async def test_a_dead_letter_waits_for_the_broker(stall: Stall, wire: Wire) -> None:
    """Refused, recorded and told while the broker was away: its dead letter comes all the same."""
    gate = asyncio.Event()

    async def cut() -> None:
        wire.dead = True
        wire.cut()
        gate.set()

    stall.before_refusal = cut
    await stall.open()
    refused = sell().but(body=b"no json").envelope
    await stall.raw.publish(
        refused.route.exchange,
        refused.route.routing_key,
        refused.body,
        headers=refused.headers,
        type=refused.route.type,
    )
    await gate.wait()
    await until(lambda: not stall.link.connected)

    wire.dead = False

    assert (await stall.dead_letter()).headers["carnet-reason"] == "invalid_body"
    assert len(stall.refusals) == 1


async def test_a_dead_letter_waits_for_its_queue(stall: Stall, link: Broker) -> None:
    await stall.raw.channel.queue_delete(WORK.dead)
    await stall.open()
    await stall.send(sell().but(body=b"no json"))
    await stall.settled(1)
    assert stall.waiting() == 1

    await declare(link, TOPOLOGY, deadline=WAIT)

    assert (await stall.dead_letter()).headers["carnet-reason"] == "invalid_body"
    await until(lambda: stall.waiting() == 0)


async def test_a_bug_of_our_own_loses_no_message(stall: Stall) -> None:
    calls = 0

    def clock_that_fails_once() -> float:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return time.time()

    await stall.open(clock=clock_that_fails_once)

    await stall.send(sell("tea"))

    await stall.settled(1)
    assert await stall.sales() == ["tea"]


async def test_commands_are_handled_side_by_side_up_to_the_limit(any_stall: Stall) -> None:
    """On SQLite one at a time: it has one writer."""
    stall = any_stall
    gate = Gate()
    stall.before = gate
    await stall.open(concurrency=4)

    await stall.send(*(sell() for _ in range(10)))
    await until(lambda: stall.waiting() == 10)

    at_once = 1 if stall.database.url.get_backend_name() == "sqlite" else 4
    await until(lambda: len(stall.starts) == at_once)
    gate.opened.set()
    await stall.settled(10)
    assert len(await stall.sales()) == 10


async def test_two_replicas_do_everything_once(any_stall: Stall) -> None:
    """Each message is sent twice, so that both may have it at the same moment."""
    stall = any_stall
    twin = Stall(stall.link, stall.publisher, stall.raw, stall.database, trust=stall.trust)
    await stall.open(prefetch=5)
    await twin.open(prefetch=5)
    messages = [sell() for _ in range(30)]

    await stall.send(*messages, *messages)

    await until(lambda: stall.consumer.counts.total() + twin.consumer.counts.total() == 60)
    await twin.close()
    async with stall.database.session() as session:
        ids = (await session.scalars(select(SALES.c.id))).all()
    assert sorted(ids) == sorted(message.message_id for message in messages)
