"""Runs the tests of every attack on the list and prints what came of each section."""

import sys
from collections.abc import Iterable
from typing import Final

import pytest
from rich.console import Console
from rich.table import Table

from tests.attacks.catalogue import ROOT, Attack, files, load

FAILED: Final = "failed"


class Verdicts:
    """The pytest plugin that keeps to the tests on the list and notes how each ended."""

    def __init__(self, attacks: list[Attack]) -> None:
        self.attacks = attacks
        self.of: dict[str, str] = {}
        self.known: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        self.known = {item.nodeid for item in items}
        others = [i for i in items if not any(a.covers(i.nodeid) for a in self.attacks)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            worst = FAILED if self.of.get(report.nodeid) == FAILED else report.outcome
            self.of[report.nodeid] = worst


def _row(title: str, attacks: Iterable[Attack], verdicts: Verdicts) -> list[str]:
    attacks = list(attacks)
    outcomes = [
        outcome for node, outcome in verdicts.of.items() if any(a.covers(node) for a in attacks)
    ]
    counts = [outcomes.count(outcome) for outcome in ("passed", FAILED, "skipped")]
    return [title, *map(str, [len(attacks), len(outcomes), *counts])]


def main() -> int:
    """Zero if every attack has its tests and all of them pass."""
    attacks = load()
    verdicts = Verdicts(attacks)
    paths = [str(ROOT / path) for path in files(attacks)]
    code = pytest.main(["-q", "--no-header", "--rootdir", str(ROOT), *paths], plugins=[verdicts])

    table = Table("section", *(["attacks", "tests", "passed", "failed", "skipped"]))
    for column in table.columns[1:]:
        column.justify = "right"
    for section in dict.fromkeys(attack.section for attack in attacks):
        table.add_row(*_row(section, (a for a in attacks if a.section == section), verdicts))
    table.add_section()
    table.add_row(*_row("all", attacks, verdicts))
    console = Console()
    console.print(table)
    missing = [test for attack in attacks for test in attack.missing(verdicts.known)]
    for test in missing:
        console.print(f"no such test: {test}", markup=False)
    return 1 if missing else int(code)


if __name__ == "__main__":
    sys.exit(main())
