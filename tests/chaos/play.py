"""One act: a stage, a load, one moment of faults after the other, and the audit in the end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.audit import Verdict, audit
from tests.chaos.evidence import Evidence, gather, latest, settle
from tests.chaos.ledger import Ledger, to_json
from tests.chaos.scenes import Scene
from tests.chaos.schedule import Moment, Strike
from tests.chaos.stage import Stage, set_stage

ANSWERED_WITHIN: Final = 120.0
SETTLED_WITHIN: Final = 900.0
"""Longer than all waits between the attempts at one message: 12 min 36 s."""
TOLD_WITHIN: Final = 90.0
BEGUN_WITHIN: Final = 1800.0
"""Seconds for the load to come as far as the next fault."""
BREATH: Final = 1.0
"""Seconds between two moments."""

Say = Callable[[str], None]


@dataclass
class Felt:
    """One fault that was played, and what was felt of it."""

    name: str
    target: str
    struck: bool
    held: float
    back: float
    """Seconds from its healing until every process was ready again."""
    answers: Counter[str]


@dataclass
class Act:
    """An act that was played."""

    scene: Scene
    ledger: Ledger
    evidence: Evidence
    verdict: Verdict
    felt: list[Felt]
    seconds: float
    gave_up: list[str] = field(default_factory=list)
    """Processes that ended by themselves, with their last words."""
    late: list[str] = field(default_factory=list)
    """Processes that did not drain in time in the end."""
    where: str = ""
    """What it was played on."""


async def play(
    state: Path,
    scene: Scene,
    moments: Sequence[Moment],
    *,
    seed: int,
    orders: int,
    rate: float,
    say: Say,
) -> Act:
    """Play `moments` while at least `orders` orders are placed, then audit."""
    began = time.monotonic()
    async with set_stage(state, scene, seed=f"{seed} {scene}", rate=rate) as stage:
        where = f"{scene}, {stage.broker.description}, {len(stage.fleet.replicas)} processes"
        say(f"{where}: ready after {time.monotonic() - began:.0f} s")
        stage.load.begin()
        felt = []
        for number, moment in enumerate(moments):
            await _until_begun(stage, orders * (number + 0.5) / (len(moments) + 1))
            felt += await _strike(stage, moment, say)
            await asyncio.sleep(BREATH)
        await _until_begun(stage, orders)
        await stage.load.end(ANSWERED_WITHIN)
        await stage.mallory.rest()
        say(f"{len(stage.ledger.wishes)} orders asked for; waiting for what is on its way")
        await settle(stage.databases, stage.operator_url, SETTLED_WITHIN)
        await stage.load.until_told(await latest(stage.databases), TOLD_WITHIN)
        gave_up = [
            f"{replica.name}: {words}"
            for replica in stage.fleet.replicas
            for words in replica.gave_up
        ]
        await stage.load.close()
        late = await stage.fleet.drain()
        evidence = await gather(stage.databases, stage.operator_url)
        (state / "ledger.json").write_text(to_json(stage.ledger))
        (state / "evidence.json").write_text(to_json(evidence))
        verdict = audit(stage.ledger, evidence)
    seconds = time.monotonic() - began
    return Act(scene, stage.ledger, evidence, verdict, felt, seconds, gave_up, late, where)


async def _until_begun(stage: Stage, orders: float) -> None:
    async with asyncio.timeout(BEGUN_WITHIN):
        while len(stage.ledger.wishes) < orders:  # noqa: ASYNC110 - the load says nothing
            await asyncio.sleep(0.1)


async def _strike(stage: Stage, moment: Moment, say: Say) -> list[Felt]:
    possible = [strike for strike in moment if strike.fault.possible(stage)]
    before = Counter(stage.ledger.answers)
    held = await asyncio.gather(*(_hold(stage, strike) for strike in possible))
    healed = time.monotonic()
    await stage.fleet.until_ready()
    back = time.monotonic() - healed
    answers = stage.ledger.answers - before
    felt = [
        Felt(strike.name, strike.fault.target, strike.fault.struck, seconds, back, answers)
        for strike, seconds in zip(possible, held, strict=True)
    ]
    for each in felt:
        say(
            f"{each.name} ({each.target}){'' if each.struck else ' DID NOT STRIKE'}: "
            f"{each.held:.1f} s, back after {each.back:.1f} s; "
            f"{answers['202']} accepted, {answers.total() - answers['202']} not"
        )
    return felt


async def _hold(stage: Stage, strike: Strike) -> float:
    began = time.monotonic()
    await strike.fault.strike(stage)
    try:
        await asyncio.sleep(strike.fault.seconds)
    finally:
        await strike.fault.heal(stage)
    return time.monotonic() - began
