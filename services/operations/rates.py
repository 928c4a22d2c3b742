"""What happened between two looks at the services, as points of a curve.

Counters are compared with those of the look before: of one process with its own, and with nothing
where it was started anew. What no service tells is None, and what did not happen is 0.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.operations.queues import Counted, lying
from services.operations.watching import SILENCE, STARTED, Look
from services.telemetry.reading import Labels, Numbers

EVERY: Final = 2.0
"""Seconds from one look to the next."""

KEPT: Final = 15 * 60.0
"""Seconds for which points are kept."""

FORGOTTEN: Final = 60.0
"""Seconds of absence after which what a process counts is no more compared with what it did."""

MESSAGES: Final = "carnet_messages_total"
PUBLISHED: Final = "carnet_published_total"
HTTP: Final = "http_server_request_duration_seconds"
VERIFY: Final = "carnet_message_verify_seconds"
WAIT: Final = "carnet_message_wait_seconds"
HANDLE: Final = "carnet_message_handle_seconds"
LAG: Final = "carnet_event_loop_lag_seconds"

WANTED: Final = (MESSAGES, PUBLISHED, HTTP, VERIFY, WAIT, HANDLE, LAG)
"""Families of metrics that the points are made of, besides those of a party's standing."""

OUTCOMES: Final = {
    "messages.accepted": "done",
    "messages.refused": "dead",
    "messages.retried": "retried",
}
DURATIONS: Final = {"http": HTTP, "verify": VERIFY, "wait": WAIT, "handle": HANDLE}
QUANTILES: Final = {"p50": 0.5, "p99": 0.99}
MILLISECONDS: Final = 1000.0

Series = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Point:
    """What happened until `at` (seconds since the epoch), since the point before."""

    at: float
    series: Series

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at, "series": self.series}


class Rates:
    """The points of the last quarter of an hour, made of one look after the other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before: dict[str, Look] = {}
        self._points: deque[Point] = deque(maxlen=math.ceil(KEPT / EVERY))

    def add(self, looks: Iterable[Look], counts: list[Counted]) -> None:
        """One more point.

        counts: of queues; none where the broker did not say.
        """
        present = {look.name: look for look in looks if look.numbers is not None}
        changes = [
            Change.between(self._before[name], look)
            for name, look in present.items()
            if name in self._before and look.at > self._before[name].at
        ]
        series = _of_changes(changes)
        silences = [look.numbers.one(SILENCE) for look in present.values() if look.numbers]
        series["trust.silence"] = max((each for each in silences if each is not None), default=None)
        series["dead.letters"], series["work.ready"] = lying(counts, "dead"), lying(counts, "work")
        last = self._points[-1].at if self._points else 0.0
        # A clock that was set back shall not hide points from who asks for those after another.
        self._points.append(Point(max(self._clock(), math.nextafter(last, math.inf)), series))
        self._remember(present)

    def after(self, at: float) -> list[Point]:
        """The points later than that."""
        oldest = self._clock() - KEPT
        return [point for point in self._points if point.at > at and point.at > oldest]

    def _remember(self, present: Mapping[str, Look]) -> None:
        self._before |= present
        newest = max((look.at for look in present.values()), default=0.0)
        for name, look in list(self._before.items()):
            if newest - look.at > FORGOTTEN:
                del self._before[name]


@dataclass(frozen=True, slots=True)
class Change:
    """What one process counted between two looks at it.

    before: nothing, where it was started anew meanwhile.   seconds: between the looks.
    """

    before: Numbers
    after: Numbers
    seconds: float

    @classmethod
    def between(cls, before: Look, after: Look) -> "Change":
        old, new = before.numbers or Numbers(), after.numbers or Numbers()
        anew = old.one(STARTED) != new.one(STARTED)
        return cls(Numbers() if anew else old, new, after.at - before.at)

    def risen(self, family: str, sample: str, fits: Labels | None = None) -> float | None:
        """By how much its samples rose together; None where it has no such family.

        fits: labels that they must have.
        """
        by_labels = self.by_labels(family, sample)
        if by_labels is None:
            return None
        wanted = (fits or {}).items()
        return sum(rise for labels, rise in by_labels if wanted <= labels.items())

    def by_labels(self, family: str, sample: str) -> list[tuple[Labels, float]] | None:
        """Likewise, each by itself."""
        if family not in self.after.families:
            return None
        old = {_key(each.labels): each.value for each in self.before.of(sample)}
        return [
            (each.labels, _rise(old.get(_key(each.labels), 0.0), each.value))
            for each in self.after.of(sample)
        ]


def _key(labels: Labels) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def _rise(before: float, after: float) -> float:
    """A counter only rises; where it fell it has begun anew, and all of it is new."""
    return after - before if after >= before else after


def _of_changes(changes: list[Change]) -> Series:
    series: Series = {
        name: _per_second(changes, MESSAGES, MESSAGES, {"outcome": outcome})
        for name, outcome in OUTCOMES.items()
    }
    series["http.requests"] = _per_second(changes, HTTP, f"{HTTP}_count")
    series["published"] = _per_second(changes, PUBLISHED, PUBLISHED, {"result": "confirmed"})
    for name, family in DURATIONS.items():
        buckets = _buckets(changes, family)
        for quantile, share in QUANTILES.items():
            series[f"{name}.{quantile}"] = _in_ms(quantile_of(buckets, share))
    series["loop.lag"] = _in_ms(quantile_of(_buckets(changes, LAG), 1.0))
    return series


def _per_second(
    changes: Iterable[Change], family: str, sample: str, fits: Labels | None = None
) -> float | None:
    """Of all processes together; None where none of them has the family."""
    rates = [
        rise / change.seconds
        for change in changes
        if (rise := change.risen(family, sample, fits)) is not None
    ]
    return sum(rates) if rates else None


def _buckets(changes: Iterable[Change], family: str) -> dict[float, float]:
    """How many values came up to each bound, of all processes together."""
    buckets: defaultdict[float, float] = defaultdict(float)
    for change in changes:
        for labels, rise in change.by_labels(family, f"{family}_bucket") or ():
            buckets[_bound(labels)] += rise
    return dict(buckets)


def _bound(labels: Labels) -> float:
    try:
        return float(labels.get("le", ""))
    except ValueError:
        return math.inf


def quantile_of(buckets: Mapping[float, float], share: float) -> float | None:
    """The value that so much of them is no more than; None where there are none.

    Within its bucket as if all lay evenly there, and the last bound where it is beyond that, as
    Prometheus' `histogram_quantile` has it.

    buckets: how many values came up to each bound, the smaller ones too.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank, below, lower = share * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank and buckets[bound] > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (buckets[bound] - below)
        below, lower = max(below, buckets[bound]), bound
    return lower


def _in_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MILLISECONDS
