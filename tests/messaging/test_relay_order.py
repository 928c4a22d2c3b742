"""Each aggregate's messages leave in their order, and what fails holds back its own aggregate."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar

import pytest
import pytest_asyncio
from sqlalchemy import select

from auth.errors import Code, RevokedTokenError
from auth.explain import decode_unverified
from auth.message import Route
from messaging import outbox, relay
from messaging.broker import Broker
from messaging.contract import InvalidBodyError
from messaging.errors import TransientError
from messaging.outbox import remove, take_lanes
from messaging.publisher import Publisher
from messaging.relay import CarnetSource, OutboxRelay
from messaging.topology import COMMANDS, Binding, Queue, Topology, declare
from tests.messaging.market import ALICE, GATEWAY, MARKET, Sell, Sold, party, sell
from tests.messaging.outbox_rows import emptied, first_heard, id_of, ids, row, store
from tests.messaging.raw import WAIT, Raw, until
from tests.messaging.stall import TABLES, Stall, open_stall


class _Onward(Sell):
    """A command of the market's own, to somebody else."""

    route: ClassVar[Route] = Route(COMMANDS.name, "onward.sell", "onward.sell.v1")


_MINUTE = timedelta(minutes=1)


def _relay(stall: Stall, carnets: CarnetSource | None = None) -> OutboxRelay:
    return OutboxRelay(
        database=stall.database,
        outbox=TABLES.outbox,
        publisher=stall.publisher,
        sealer=party(MARKET).sealer,
        clock=time.time,
        carnets=carnets,
    )


@pytest_asyncio.fixture
async def postgres_stall(
    link: Broker, publisher: Publisher, raw: Raw, postgres_url: str
) -> AsyncIterator[Stall]:
    """A stall on what several relays may share."""
    async with open_stall(link, publisher, raw, postgres_url) as stall:
        yield stall


@asynccontextmanager
async def _running(*relays: OutboxRelay) -> AsyncIterator[None]:
    shutdown = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        for relay in relays:
            running.create_task(relay.run(shutdown))
        try:
            yield
        finally:
            shutdown.set()


async def test_several_relays_keep_the_order_of_each_aggregate(any_stall: Stall) -> None:
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")
    await store(stall.database, (row(each, f"a{n % 7}") for n, each in enumerate(ids(350))))

    async with _running(*(_relay(stall) for _ in range(3))):
        await emptied(stall)

    messages = await stall.raw.take(heard)
    assert first_heard(messages) == {f"a{n}": ids(350)[n::7] for n in range(7)}
    if stall.database.url.get_backend_name() == "postgresql":
        assert len(messages) == 350


async def _failures(stall: Stall) -> dict[str, int]:
    async with stall.database.session() as session:
        rows = await session.execute(select(TABLES.outbox.c.message_id, TABLES.outbox.c.failures))
        return {each.message_id: each.failures for each in rows}


async def _until_failed(stall: Stall, message_id: str, times: int) -> None:
    async with asyncio.timeout(WAIT):
        while (await _failures(stall))[message_id] < times:  # noqa: ASYNC110 - a table has no event
            await asyncio.sleep(0.02)


async def test_a_command_that_nobody_takes_holds_back_its_own_aggregate_alone(
    any_stall: Stall,
) -> None:
    stall = any_stall
    heard = await stall.raw.listen("carnet.events", "market.*")
    first, second, third, other = ids(4)
    await store(
        stall.database,
        [
            row(first, "a"),
            row(second, "a", Sell(what="tea"), receiver=MARKET, routing_key="nobody.sells"),
            row(third, "a"),
            row(other, "b"),
        ],
    )
    async with _running(_relay(stall)):
        assert {id_of(each) for each in await stall.raw.take(heard, 2)} == {first, other}
        await _until_failed(stall, second, 2)
        assert set(await _failures(stall)) == {second, third}
        assert await stall.raw.count(heard) == 0

        late = Topology(
            queues=(Queue("late", {}),), bindings=(Binding("late", COMMANDS.name, "nobody.*"),)
        )
        await declare(stall.link, late, deadline=WAIT)

        assert id_of(await stall.raw.next("late", within=60)) == second
        assert id_of(await stall.raw.next(heard)) == third
        await emptied(stall)


async def test_what_cannot_be_sealed_holds_back_its_own_aggregate_alone(stall: Stall) -> None:
    heard = await stall.raw.listen("carnet.events", "market.*")
    bad, behind, other = ids(3)
    await store(
        stall.database, [row(bad, "a", subject="nobody"), row(behind, "a"), row(other, "b")]
    )

    async with _running(_relay(stall)):
        assert id_of(await stall.raw.next(heard)) == other
        await _until_failed(stall, bad, 1)

    assert set(await _failures(stall)) == {bad, behind}
    assert await stall.raw.count(heard) == 0


async def test_a_long_line_does_not_keep_the_others_waiting(stall: Stall) -> None:
    heard = await stall.raw.listen("carnet.events", "market.*")
    *long_line, other = ids(301)
    await store(stall.database, [*(row(each, "a") for each in long_line), row(other, "b")])

    async with _running(_relay(stall)):
        await emptied(stall)

    order = [id_of(message) for message in await stall.raw.take(heard)]
    assert order.index(other) < 50
    order.remove(other)
    assert order == long_line


async def test_a_carnet_that_is_not_to_be_had_holds_back_the_commands_that_need_it(
    stall: Stall,
) -> None:
    heard = await stall.raw.listen("carnet.events", "market.*")
    given = asyncio.Event()
    asked: list[tuple[str, frozenset[str]]] = []

    async def carnets(audience: str, scopes: frozenset[str]) -> str:
        asked.append((audience, scopes))
        if not given.is_set():
            raise TransientError("not now")
        return sell().carnet

    command, event = ids(2)
    soon = int(time.time()) + 60
    needs = {"receiver": MARKET, "scope": "market:sell", "wanted_until": soon}
    await store(stall.database, [row(command, "a", Sell(what="tea"), **needs), row(event, "b")])

    async with _running(_relay(stall, carnets)):
        assert id_of(await stall.raw.next(heard)) == event
        await until(lambda: bool(asked))
        given.set()
        sent = await stall.raw.next("market.commands", within=60)
        await emptied(stall)

    assert set(asked) == {(MARKET, frozenset({"market:sell"}))}
    seal = decode_unverified(str(sent.headers["carnet-seal"])).unverified_claims
    assert (seal["k"], seal["aud"], seal["jti"]) == ("cmd", MARKET, command)
    assert (seal["exp"], seal["rk"]) == (soon, "market.sell")
    assert str(sent.headers["authorization"]).startswith("Bearer ")


async def _never(_audience: str, _scopes: frozenset[str]) -> str:
    await asyncio.Event().wait()
    return ""


def _raising(error: Exception) -> CarnetSource:
    async def carnets(_audience: str, _scopes: frozenset[str]) -> str:
        raise error

    return carnets


@pytest.mark.parametrize(
    "carnets",
    [
        _never,
        _raising(InvalidBodyError("the issuer's answer")),
        _raising(RevokedTokenError(Code.REVOKED, "we")),
        _raising(TimeoutError()),
        _raising(RuntimeError("a bug")),
    ],
    ids=["no answer", "an answer that nobody reads", "a refusal", "out of time", "a bug"],
)
async def test_a_source_of_carnets_holds_back_its_own_commands_alone(
    stall: Stall, carnets: CarnetSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does; a look is not kept waiting, and the relay goes on."""
    monkeypatch.setattr(relay, "DEADLINE", 1.0)
    heard = await stall.raw.listen("carnet.events", "market.*")
    command, event, later = ids(3)
    needs = {"receiver": MARKET, "scope": "market:sell"}
    await store(stall.database, [row(command, "a", Sell(what="tea"), **needs), row(event, "b")])

    async with _running(_relay(stall, carnets)):
        assert id_of(await stall.raw.next(heard)) == event
        await _until_failed(stall, command, 1)
        await store(stall.database, [row(later, "b")])
        assert id_of(await stall.raw.next(heard)) == later

    assert set(await _failures(stall)) == {command}


async def test_without_a_source_of_carnets_commands_that_need_one_stay(stall: Stall) -> None:
    command = ids(1)[0]
    await store(
        stall.database,
        [row(command, "a", Sell(what="tea"), receiver=MARKET, scope="market:sell")],
    )

    async with _running(_relay(stall)):
        await _until_failed(stall, command, 1)

    assert await stall.raw.count("market.commands") == 0


async def test_a_command_whose_time_has_passed_goes_to_its_receiver_all_the_same(
    stall: Stall,
) -> None:
    """It is refused and kept there, where people look for what went wrong."""
    command = ids(1)[0]
    await store(
        stall.database, [row(command, "a", Sell(what="tea"), receiver=MARKET, wanted_until=1)]
    )

    async with _running(_relay(stall)):
        sent = await stall.raw.next("market.commands")

    seal = decode_unverified(str(sent.headers["carnet-seal"])).unverified_claims
    assert seal["exp"] == seal["iat"]


async def test_a_relay_that_stops_in_mid_air_loses_its_lock(
    postgres_stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is cut off leaves a transaction open; others go on after a while."""
    stall = postgres_stall
    monkeypatch.setattr(outbox, "ABANDONED", 1)
    heard = await stall.raw.listen("carnet.events", "market.*")
    await store(stall.database, [row(each) for each in ids(3)])
    async with stall.database.engine.connect() as stopped:
        await stopped.begin()
        async with stall.database.session() as session:
            session.bind = stopped
            lanes = await take_lanes(session, TABLES.outbox, failed_before=False, now=time.time())
            assert [len(lane) for lane in lanes] == [3]

            async with _running(_relay(stall)):
                messages = await stall.raw.take(heard, 3)

            assert [id_of(message) for message in messages] == ids(3)
            await stopped.invalidate()


async def test_what_commits_late_is_published_beside_what_another_relay_holds(
    postgres_stall: Stall,
) -> None:
    """Its id is lower than that of a head which is taken: it is taken, and that one is not."""
    stall = postgres_stall
    late, *others = ids(4)
    await store(stall.database, [row(each, id=n + 2) for n, each in enumerate(others)])
    async with stall.database.transaction() as first:
        (held,) = await take_lanes(first, TABLES.outbox, failed_before=False, now=0)
        await store(stall.database, [row(late, id=1)])
        async with stall.database.transaction() as second:
            (lane,) = await take_lanes(second, TABLES.outbox, failed_before=False, now=0)
            assert [message.message_id for message in lane] == [late]
        await remove(first, TABLES.outbox, held)
        assert [message.message_id for message in held] == others


async def test_a_handler_s_commands_and_events_leave_in_its_order(stall: Stall) -> None:
    """Under one aggregate, written with the effect; nothing of a handler that fails."""
    heard = await stall.raw.listen("carnet.events", "market.*")
    onward = await stall.raw.listen("carnet.commands", "onward.*")
    failed = False

    async def more(command: Sell) -> None:
        nonlocal failed
        work = stall.last_work
        work.send(
            _Onward(what=command.what),
            to=GATEWAY,
            scopes=frozenset(),
            wanted_for=_MINUTE,
            aggregate=ALICE,
        )
        work.publish(Sold(what="last"), subject=ALICE)
        if not failed:
            failed = True
            raise TransientError("once")

    stall.before = more
    await stall.open()
    await stall.send(sell("tea"))

    events = await stall.raw.take(heard, 2)
    command = await stall.raw.next(onward)
    assert [Sold.from_body(each.body).what for each in events] == ["tea", "last"]
    assert command.body == _Onward(what="tea").to_body()
    assert command.type == "onward.sell.v1"
    await emptied(stall)
    assert stall.starts == ["tea", "tea"]
    assert await stall.raw.count(heard) == await stall.raw.count(onward) == 0
