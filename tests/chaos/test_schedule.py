"""A seed's plan: always the same, with every kind of fault in it."""

from tests.chaos.databases import Kind
from tests.chaos.faults import TABLE
from tests.chaos.schedule import plan

BOTH: tuple[Kind, ...] = ("postgres", "sqlite")


def names(seed: int, kinds: tuple[Kind, ...] = BOTH, faults: int = 36) -> list[str]:
    return [
        f"{kind}: {strike.name}, {strike.fault.seconds} s"
        for kind, moments in plan(seed, kinds, faults).items()
        for moment in moments
        for strike in moment
    ]


def test_the_same_seed_is_the_same_plan() -> None:
    assert names(7) == names(7)
    assert names(7) != names(8)


def test_every_kind_of_fault_strikes() -> None:
    struck = [s.name for ms in plan(7, BOTH, 36).values() for m in ms for s in m]

    assert len(struck) == 36
    assert set(struck) == {entry.name for entry in TABLE}


def test_what_needs_another_database_is_left_out() -> None:
    struck = {s.name for ms in plan(7, ["sqlite"], 0).values() for m in ms for s in m}

    assert struck == {entry.name for entry in TABLE if entry.on != "postgres"}


def test_two_faults_at_once_are_of_two_areas() -> None:
    for moments in plan(7, BOTH, 100).values():
        for moment in moments:
            areas = [strike.fault.area for strike in moment]
            assert len(set(areas)) == len(areas) <= 2
