"""Which faults strike when, all of it drawn from the seed: the same seed, the same plan."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.faults import TABLE, Entry, Fault
from tests.chaos.scenes import Scene

TWO_AT_ONCE = 0.4
"""How often a second fault, of another area, strikes beside the first."""


@dataclass
class Strike:
    """One fault, with the name that the table gives its kind."""

    name: str
    fault: Fault


Moment = list[Strike]
"""Faults that strike together."""


def plan(
    seed: int, scenes: Sequence[Scene], faults: int, table: Sequence[Entry] = TABLE
) -> dict[Scene, list[Moment]]:
    """The moments of each act: every kind of fault at least once, `faults` in all at least.

    What exists in one scene alone strikes there; the rest evens the acts out.
    """
    rng = random.Random(seed)  # noqa: S311 - to be played again, not to be secret
    drawn: dict[Scene, list[Entry]] = {scene: [] for scene in scenes}

    def emptiest(of: Sequence[Scene]) -> Scene:
        return min(of, key=lambda scene: len(drawn[scene]))

    for entry in sorted(rng.sample(table, len(table)), key=lambda entry: len(entry.on)):
        if fitting := [scene for scene in scenes if scene in entry.on]:
            drawn[emptiest(fitting)].append(entry)
    while sum(map(len, drawn.values())) < faults:
        scene = emptiest(scenes)
        drawn[scene].append(rng.choice([entry for entry in table if scene in entry.on]))
    for entries in drawn.values():
        rng.shuffle(entries)
    return {scene: _moments(entries, rng) for scene, entries in drawn.items()}


def _moments(entries: list[Entry], rng: random.Random) -> list[Moment]:
    moments: list[Moment] = []
    for entry in entries:
        strike = Strike(entry.name, entry.make(random.Random(rng.getrandbits(64))))  # noqa: S311
        beside = moments[-1] if moments and len(moments[-1]) == 1 else None
        if beside and beside[0].fault.area != strike.fault.area and rng.random() < TWO_AT_ONCE:
            beside.append(strike)
        else:
            moments.append([strike])
    return moments
