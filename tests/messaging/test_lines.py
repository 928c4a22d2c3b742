"""Who waits for whom, where one job may be about several things."""

import asyncio
import random

import pytest

from messaging.lines import Lines, Places
from tests.messaging.raw import until


async def begin(places: Places, name: str, log: list[str], gate: asyncio.Event) -> None:
    async with places.turn():
        log.append(name)
        await gate.wait()


async def test_who_is_about_the_same_waits_and_others_go_on() -> None:
    lines, gate = Lines(), asyncio.Event()
    log: list[str] = []
    async with asyncio.TaskGroup() as group:
        for name, thing in (("first", "7"), ("second", "7"), ("other", "8")):
            places = lines.places()
            places.join(thing)
            group.create_task(begin(places, name, log, gate))
        await until(lambda: len(log) == 2)
        assert log == ["first", "other"]
        gate.set()

    assert log == ["first", "other", "second"]
    assert len(lines) == 0


async def test_a_job_about_several_things_waits_for_all_who_came_before() -> None:
    lines = Lines()
    log: list[str] = []
    gates = {name: asyncio.Event() for name in ("seven", "eight", "both", "later")}
    async with asyncio.TaskGroup() as group:
        for name, things in (("seven", "7"), ("eight", "8"), ("both", "78"), ("later", "8")):
            places = lines.places()
            for thing in things:
                places.join(thing)
            group.create_task(begin(places, name, log, gates[name]))
        await until(lambda: len(log) == 2)
        gates["seven"].set()
        gates["later"].set()
        await asyncio.sleep(0)
        assert log == ["seven", "eight"]
        gates["eight"].set()
        await until(lambda: len(log) == 3)
        gates["both"].set()

    assert log == ["seven", "eight", "both", "later"]


@pytest.mark.parametrize("seed", range(5))
async def test_each_line_keeps_its_order_and_nobody_waits_for_ever(seed: int) -> None:
    order = random.Random(seed)  # noqa: S311 - which seed it was is told
    lines, open_gate = Lines(), asyncio.Event()
    log: list[str] = []
    open_gate.set()
    jobs = [(str(n), order.sample("abcdef", order.randint(1, 3))) for n in range(200)]

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        tasks = []
        for name, things in jobs:
            places = lines.places()
            for thing in things:
                places.join(thing)
            tasks.append((places, name))
        order.shuffle(tasks)
        for places, name in tasks:
            group.create_task(begin(places, name, log, open_gate))

    for thing in "abcdef":
        came = [name for name, things in jobs if thing in things]
        assert [name for name in log if name in came] == came
    assert len(lines) == 0


async def test_who_fails_or_is_cancelled_leaves_its_lines() -> None:
    lines = Lines()
    failing, cancelled, last = lines.places(), lines.places(), lines.places()
    for places in (failing, cancelled, last):
        places.join("7")

    with pytest.raises(ZeroDivisionError):
        async with failing.turn():
            raise ZeroDivisionError
    task = asyncio.create_task(begin(cancelled, "", [], asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    async with asyncio.timeout(20), last.turn():
        assert len(lines) == 1
    assert len(lines) == 0


def test_who_stands_last_is_known() -> None:
    lines = Lines()
    first, second = lines.places(), lines.places()
    assert first.last_in("7")

    first.join("7")
    assert first.last_in("7")
    second.join("7")

    assert not first.last_in("7")
    assert second.last_in("7")
    assert first.last_in("8")
