"""The page of figures: what stands between its markers is made anew, and nothing else."""

import pytest

pytest.importorskip("matplotlib", reason="only make bench installs it")

from benchmarks import report


def test_a_figure_stands_beside_what_it_must_reach() -> None:
    table = report.ratios({"publish.sealed_over_unsealed": 0.7, "revocation.p99_ms": 9.5})

    assert "| `publish.sealed_over_unsealed` | 0.7 | 0.8 | 0.95 | not met |" in table
    assert "| `revocation.p99_ms` | 9.5 | ≤ 50 | 10 | met |" in table
    assert "| `store.sqlite_over_handwritten` |  | 3 | 6 |  |" in table


def test_contenders_are_listed_by_case_the_fastest_first() -> None:
    figures = {"a.slow_per_s": 1.0, "a.fast_per_s": 9.0, "b.c.one_per_s": 5.0, "b.c": 1.0}

    assert report.contenders(figures) == {"a": ["fast", "slow"], "b.c": ["one"]}


def test_what_a_message_costs_the_broker_is_told_where_it_is_known() -> None:
    table = report.throughputs(
        {"a.one_per_s": 9.0, "a.one_cpu_us": 200.0, "a.one_broker_us": 70.0, "a.two_per_s": 5.0}
    )

    assert "| a | one | 9 | 200 | 70 |  |" in table
    assert "| a | two | 5 |  |  |  |" in table


def test_only_what_is_between_the_markers_is_replaced() -> None:
    page = "above\n<!-- begin: x -->\nold\n<!-- end: x -->\nbelow\n"

    assert report.replace_part(page, "x", "new") == page.replace("old", "new")


def test_a_page_without_the_markers_is_not_touched() -> None:
    with pytest.raises(ValueError, match="no part x"):
        report.replace_part("<!-- begin: x -->", "x", "new")
