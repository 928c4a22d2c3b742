"""Who may ask the issuer, who waits for that, and who stands aside while it is away."""

import asyncio
from collections.abc import Sequence

import pytest

from messaging import onward_room
from messaging.onward_room import OnwardRoom


async def arrived(room: OnwardRoom, count: int) -> Sequence[asyncio.Task[bool]]:
    """So many who want their turn, in this order."""
    tasks = []
    for _ in range(count):
        room.enter()
        tasks.append(asyncio.create_task(room.turn()))
    await asyncio.sleep(0)
    return tasks


def verdicts(tasks: Sequence[asyncio.Task[bool]]) -> list[bool | None]:
    return [task.result() if task.done() else None for task in tasks]


async def test_while_the_issuer_answers_everybody_waits_for_a_turn() -> None:
    room = OnwardRoom(asking=2, most=3)
    tasks = await arrived(room, 6)

    assert verdicts(tasks) == [True, True, None, None, None, None]
    room.leave()
    await asyncio.sleep(0)
    assert verdicts(tasks) == [True, True, True, None, None, None]
    for _ in range(5):
        room.leave()
    assert [await task for task in tasks] == [True] * 6


async def test_while_it_is_away_the_last_who_came_make_room() -> None:
    room = OnwardRoom(asking=2, most=3)
    tasks = await arrived(room, 6)

    room.unanswered()
    later = await arrived(room, 1)

    await asyncio.sleep(0)
    assert verdicts(tasks) == [True, True, None, False, False, False]
    assert verdicts(later) == [False]
    assert not room.crowded
    room.leave()
    room.leave()
    await asyncio.sleep(0)
    assert verdicts(tasks)[2] is True


async def test_who_asks_makes_room_too_where_others_wait_behind_it() -> None:
    """Those in line for the same thing are here, and have no turn to be refused."""
    room = OnwardRoom(asking=1, most=2)
    (asking,) = await arrived(room, 1)
    for _ in range(4):
        room.enter()

    room.unanswered()

    assert await asking
    assert room.crowded


async def test_nobody_waits_for_it_while_somebody_has_to_run_alone() -> None:
    room = OnwardRoom(asking=1, most=3)
    tasks = await arrived(room, 3)
    room.unanswered()
    assert verdicts(tasks) == [True, None, None]

    with room.emptying():
        await asyncio.sleep(0)
        assert verdicts(tasks) == [True, False, False]
        assert room.crowded
    (later,) = await arrived(room, 1)
    assert not later.done()


async def test_once_it_has_not_failed_for_a_while_there_is_room_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = OnwardRoom(asking=1, most=1)
    await arrived(room, 1)
    monkeypatch.setattr(onward_room, "AWAY", 0.0)
    room.unanswered()

    (task,) = await arrived(room, 1)

    assert not task.done()
    room.leave()
    assert await task
