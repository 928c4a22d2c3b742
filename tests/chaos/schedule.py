"""Which faults strike when, all of it drawn from the seed: the same seed, the same plan."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.databases import Kind
from tests.chaos.faults import TABLE, Entry, Fault

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
    seed: int, kinds: Sequence[Kind], faults: int, table: Sequence[Entry] = TABLE
) -> dict[Kind, list[Moment]]:
    """The moments of each act: every kind of fault at least once, `faults` in all at least.

    What exists on one kind of database strikes in its act; the rest is dealt out to all acts.
    """
    rng = random.Random(seed)  # noqa: S311 - to be played again, not to be secret
    drawn: dict[Kind, list[Entry]] = {kind: [] for kind in kinds}
    common = [entry for entry in table if entry.on is None]
    for number, entry in enumerate(rng.sample(common, len(common))):
        drawn[kinds[number % len(kinds)]].append(entry)
    for entry in table:
        if entry.on in drawn:
            drawn[entry.on].append(entry)
    while sum(map(len, drawn.values())) < faults:
        kind = min(kinds, key=lambda each: len(drawn[each]))
        drawn[kind].append(rng.choice([entry for entry in table if entry.on in {None, kind}]))
    for entries in drawn.values():
        rng.shuffle(entries)
    return {kind: _moments(entries, rng) for kind, entries in drawn.items()}


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
