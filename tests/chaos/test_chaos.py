"""A short run of the harness: most kinds of fault, few orders, and an audit of the real result."""

from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from dataclasses import replace
from typing import Final

import pytest
import pytest_asyncio

from tests.chaos.audit import Breach, audit
from tests.chaos.evidence import Evidence
from tests.chaos.faults import TABLE
from tests.chaos.play import Act, play
from tests.chaos.schedule import plan

SEED: Final = 4
ORDERS: Final = 300
RATE: Final = 15.0
LEAST_FAULTS: Final = 10

pytestmark = pytest.mark.timeout(600)  # on a machine that does much else


@pytest_asyncio.fixture(scope="module")
async def act(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Act]:
    """An act on SQLite, played."""
    said: list[str] = []
    moments = plan(SEED, ["sqlite"], 0, [entry for entry in TABLE if entry.short])["sqlite"]
    played = await play(
        tmp_path_factory.mktemp("chaos"),
        "sqlite",
        moments,
        seed=SEED,
        orders=ORDERS,
        rate=RATE,
        say=said.append,
    )
    print("\n".join(said))  # noqa: T201 - what is shown where a test fails
    yield played


async def test_every_promise_is_kept_under_every_fault(act: Act) -> None:
    assert act.verdict.findings == []
    assert act.verdict.figures["orders asked for"] >= ORDERS
    assert act.verdict.figures["never answered"] == 0
    assert act.verdict.figures["forged messages"] > 0
    assert sum(felt.struck for felt in act.felt) >= LEAST_FAULTS
    assert act.late == []


def _without_inbox_row(evidence: Evidence) -> None:
    stored = evidence.orders[0].id
    evidence.inbox = [row for row in evidence.inbox if row.jti != stored]


TAMPERED: Final[dict[str, tuple[Callable[[Evidence], object], Breach]]] = {
    "an order is deleted": (lambda e: e.orders.pop(), "lost"),
    "an order is duplicated": (lambda e: e.orders.append(replace(e.orders[0], id="x")), "twice"),
    "an inbox row is removed": (_without_inbox_row, "unverified"),
    "a dead letter is purged": (lambda e: e.dead.clear(), "unkept"),
    "an event is removed": (lambda e: e.history.pop(), "untold"),
}


@pytest.mark.parametrize("case", TAMPERED)
async def test_the_same_result_tampered_with_is_found(act: Act, case: str) -> None:
    tamper, breach = TAMPERED[case]
    evidence = deepcopy(act.evidence)

    tamper(evidence)

    assert audit(act.ledger, evidence).count(breach) > 0
