"""The report of a run: the faults, the figures, and every promise that was not kept."""

from collections import Counter
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.chaos.audit import BREACHES
from tests.chaos.play import Act

SHOWN: Final = 20
"""Findings of one act that are shown in full."""


def show(console: Console, seed: int, acts: list[Act]) -> int:
    """Print it; 0 where every promise was kept."""
    for act in acts:
        console.print(_faults(act))
        for words in act.gave_up:
            console.print(f"ended by itself: {words}", markup=False, highlight=False)
        for name in act.late:
            console.print(f"did not drain in time: {name}")
        for finding in act.verdict.findings[:SHOWN]:
            console.print(f"{finding.breach}: {finding.what}", markup=False, highlight=False)
    console.print(_figures(acts))
    console.print(f"seed {seed}: {summary(acts)}", highlight=False)
    return 1 if any(act.verdict.findings for act in acts) else 0


def summary(acts: list[Act]) -> str:
    """One line: how much was asked for under how many faults, and each breach's count."""
    orders, accepted = (
        sum(act.verdict.figures[name] for act in acts)
        for name in ("orders asked for", "requests accepted")
    )
    struck = sum(felt.struck for act in acts for felt in act.felt)
    seconds = sum(act.seconds for act in acts)
    breaches = ", ".join(f"{breach} {_count(acts, breach)}" for breach in BREACHES)
    return (
        f"{orders} orders, {accepted} requests accepted, under {struck} faults in {seconds:.0f} s; "
        f"{breaches}"
    )


def _faults(act: Act) -> Table:
    table = Table("fault", "struck", "held s", "back s", "202", "other answers", title=act.where)
    for felt in act.felt:
        others = felt.answers.total() - felt.answers["202"]
        table.add_row(
            felt.name if felt.struck else f"{felt.name} (did not strike)",
            felt.target,
            f"{felt.held:.1f}",
            f"{felt.back:.1f}",
            str(felt.answers["202"]),
            str(others),
        )
    return table


def _figures(acts: list[Act]) -> Table:
    table = Table("", *(act.scene for act in acts), "together")
    for column in table.columns[1:]:
        column.justify = "right"

    def row(name: str, counts: list[int]) -> None:
        table.add_row(name, *map(str, counts), str(sum(counts)))

    row("faults that struck", [sum(felt.struck for felt in act.felt) for act in acts])
    for name in dict.fromkeys(name for act in acts for name in act.verdict.figures):
        row(name, [act.verdict.figures[name] for act in acts])
    table.add_section()
    for name, _ in _total(acts, "answers").most_common():
        row(f"answered {name}", [act.ledger.answers[name] for act in acts])
    table.add_section()
    for name, _ in _total(acts, "refusals").most_common():
        row(f"refused later: {name}", [act.verdict.refusals[name] for act in acts])
    table.add_section()
    for breach, meaning in BREACHES.items():
        row(f"{breach}: {meaning}", [act.verdict.count(breach) for act in acts])
    return table


def _total(acts: list[Act], of: str) -> Counter[str]:
    counters = [act.ledger.answers if of == "answers" else act.verdict.refusals for act in acts]
    return sum(counters, Counter())


def _count(acts: list[Act], breach: str) -> int:
    return sum(f.breach == breach for act in acts for f in act.verdict.findings)
