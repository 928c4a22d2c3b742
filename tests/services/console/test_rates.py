"""Points of what happened between two looks: deltas of counters, quantiles, restarts, absences."""

from collections.abc import Mapping

import pytest

from messaging.inspection import QueueCount
from services.operations.queues import Counted, NamedQueue, lying
from services.operations.rates import EVERY, HTTP, KEPT, LAG, MESSAGES, WANTED, Rates, quantile_of
from services.operations.watching import OF_STANDING, SILENCE, STARTED, Look
from services.telemetry.reading import read_exposition

FAMILIES = frozenset((*WANTED, *OF_STANDING))
NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> Rates:
    return Rates(clock)


def look(
    at: float,
    *,
    name: str = "orders",
    started: float = 1,
    outcomes: Mapping[str, float] | None = None,
    http: Mapping[str, float] | None = None,
    lag: Mapping[str, float] | None = None,
    silence: float | None = None,
) -> Look:
    """What a process tells so many seconds after the first look."""
    lines = [f"# TYPE {STARTED} gauge", f"{STARTED} {started}"]
    if outcomes is not None:
        lines.append(f"# TYPE {MESSAGES} counter")
        lines += [f'{MESSAGES}{{outcome="{name}"}} {n}' for name, n in outcomes.items()]
    for family, buckets in ((HTTP, http), (LAG, lag)):
        if buckets is not None:
            lines.append(f"# TYPE {family} histogram")
            lines += [f'{family}_bucket{{le="{le}"}} {n}' for le, n in buckets.items()]
            lines.append(f"{family}_count {max(buckets.values())}")
    if silence is not None:
        lines += [f"# TYPE {SILENCE} gauge", f"{SILENCE} {silence}"]
    return Look(name, 100 + at, ready=True, numbers=read_exposition("\n".join(lines), FAMILIES))


def last(rates: Rates) -> Mapping[str, float | None]:
    return rates.after(0)[-1].series


def test_a_point_is_what_happened_since_the_point_before(rates: Rates) -> None:
    rates.add([look(0, outcomes={"done": 100, "dead": 5})], [])
    rates.add([look(2, outcomes={"done": 110, "dead": 5})], [])

    assert last(rates)["messages.accepted"] == 5
    assert last(rates)["messages.refused"] == 0
    assert last(rates)["messages.retried"] == 0
    assert last(rates)["http.requests"] is None
    assert last(rates)["http.p50"] is None


def test_at_first_sight_nothing_is_said(rates: Rates) -> None:
    rates.add([look(0, outcomes={"done": 100})], [])

    assert last(rates)["messages.accepted"] is None


def test_all_services_count_together(rates: Rates) -> None:
    for at, done in ((0, 0), (2, 10)):
        each = {"outcomes": {"done": done}}
        rates.add([look(at, **each), look(at, name="another", **each)], [])  # type: ignore[arg-type]

    assert last(rates)["messages.accepted"] == 10


@pytest.mark.parametrize("started", [1, 2], ids=["a counter that fell", "a process begun anew"])
def test_a_counter_that_begins_anew_counts_from_nothing(rates: Rates, started: float) -> None:
    rates.add([look(0, outcomes={"done": 100})], [])
    rates.add([look(2, started=started, outcomes={"done": 8})], [])

    assert last(rates)["messages.accepted"] == 4


def test_what_a_new_process_counted_already_is_no_less_than_it_is(rates: Rates) -> None:
    """Beyond where the old one was: only its start tells it from a counter that rose."""
    rates.add([look(0, outcomes={"done": 100})], [])
    rates.add([look(2, started=2, outcomes={"done": 120})], [])

    assert last(rates)["messages.accepted"] == 60


def test_an_absence_is_bridged(rates: Rates) -> None:
    rates.add([look(0, outcomes={"done": 0})], [])
    rates.add([Look("orders", 102, error="nobody answers there")], [])
    assert last(rates)["messages.accepted"] is None

    rates.add([look(4, outcomes={"done": 40})], [])

    assert last(rates)["messages.accepted"] == 10


def test_quantiles_are_of_what_happened_since_alone(rates: Rates) -> None:
    rates.add([look(0, http={"0.1": 50, "1.0": 50, "+Inf": 50})], [])
    rates.add([look(2, http={"0.1": 50, "1.0": 60, "+Inf": 60})], [])

    assert last(rates)["http.p50"] == pytest.approx(550)
    assert last(rates)["http.p99"] == pytest.approx(991)
    assert last(rates)["http.requests"] == 5


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ({}, 0.5, None),
        ({1.0: 0, float("inf"): 0}, 0.5, None),
        ({1.0: 10, 2.0: 10, float("inf"): 10}, 0.5, 0.5),
        ({1.0: 5, 2.0: 10, float("inf"): 10}, 0.99, 1.98),
        ({1.0: 0, 2.0: 0, float("inf"): 4}, 0.5, 2.0),
        ({1.0: 1, 2.0: 1, 4.0: 2, float("inf"): 2}, 1.0, 4.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(
    buckets: dict[float, float], share: float, value: float | None
) -> None:
    found = quantile_of(buckets, share)

    assert found == (None if value is None else pytest.approx(value))


def test_the_worst_of_silence_and_of_lag_is_told(rates: Rates) -> None:
    quiet = {"0.1": 4, "1.0": 4, "+Inf": 4}
    rates.add([look(0, lag=quiet), look(0, name="another", lag=quiet)], [])
    late = {"0.1": 7, "1.0": 8, "+Inf": 8}
    rates.add([look(2, lag=quiet, silence=1), look(2, name="another", lag=late, silence=3)], [])

    assert last(rates)["trust.silence"] == 3
    assert last(rates)["loop.lag"] == pytest.approx(1000)


def test_queues_are_counted_by_their_kind(rates: Rates) -> None:
    counts = [
        Counted(NamedQueue("a", "work"), QueueCount(3, 1)),
        Counted(NamedQueue("b", "work"), QueueCount(4, 1)),
        Counted(NamedQueue("c", "dead"), QueueCount(2, 0)),
        Counted(NamedQueue("d", "dead"), None),
    ]

    rates.add([], counts)

    assert (last(rates)["work.ready"], last(rates)["dead.letters"]) == (7, 2)
    assert lying(counts[-1:], "dead") is None


def test_points_are_kept_for_a_while_and_asked_for_by_their_time(
    rates: Rates, clock: Clock
) -> None:
    for number in range(500):
        clock.now = NOW + EVERY * number
        rates.add([], [])

    points = rates.after(0)
    assert len(points) == KEPT / EVERY
    assert [point.at for point in rates.after(points[-3].at)] == [p.at for p in points[-2:]]
    assert rates.after(points[-1].at) == []


def test_a_clock_that_is_set_back_hides_no_point(rates: Rates, clock: Clock) -> None:
    rates.add([], [])
    before = rates.after(0)[-1].at
    clock.now -= 60

    rates.add([], [])

    assert len(rates.after(before)) == 1
