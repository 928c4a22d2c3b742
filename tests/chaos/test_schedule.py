"""A seed's plan: always the same, with every kind of fault in it."""

import pytest

from tests.chaos.faults import TABLE
from tests.chaos.scenes import SCENES, Scene
from tests.chaos.schedule import plan

ALL: tuple[Scene, ...] = tuple(SCENES)


def names(seed: int, scenes: tuple[Scene, ...] = ALL, faults: int = 36) -> list[str]:
    return [
        f"{scene}: {strike.name}, {strike.fault.seconds} s"
        for scene, moments in plan(seed, scenes, faults).items()
        for moment in moments
        for strike in moment
    ]


def test_the_same_seed_is_the_same_plan() -> None:
    assert names(7) == names(7)
    assert names(7) != names(8)


def test_every_kind_of_fault_strikes() -> None:
    struck = [s.name for ms in plan(7, ALL, 36).values() for m in ms for s in m]

    assert len(struck) == 36
    assert set(struck) == {entry.name for entry in TABLE}


@pytest.mark.parametrize("scene", ALL)
def test_what_does_not_exist_in_a_scene_is_left_out(scene: Scene) -> None:
    struck = {s.name for ms in plan(7, [scene], 0).values() for m in ms for s in m}

    assert struck == {entry.name for entry in TABLE if scene in entry.on}


def test_the_acts_have_as_many_faults_each() -> None:
    counts = [sum(map(len, moments)) for moments in plan(7, ALL, 36).values()]

    assert counts == [12, 12, 12]


def test_two_faults_at_once_are_of_two_areas() -> None:
    for moments in plan(7, ALL, 100).values():
        for moment in moments:
            areas = [strike.fault.area for strike in moment]
            assert len(set(areas)) == len(areas) <= 2
