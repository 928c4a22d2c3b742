"""What a process counts and measures about itself: numbers in memory, read when somebody asks.

    messages = metrics.counter("carnet_messages_total", "…", labels=("type", "outcome"))
    placed = messages.of("orders.place.v1", "done")     # once
    placed.add(50)                                      # as often as one likes

All of it happens on one event loop, so nothing takes a lock; whoever counts often keeps the
series, so nothing is looked up. How it is told, as Prometheus' text or otherwise, is not said
here.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar, cast

MAX_SERIES: Final = 200
"""Series of one family. What would be one more is counted under `OTHER`: memory here, and rows
where it is collected, stay bounded whatever a label is made of."""

OTHER: Final = "other"

REFRESH: Final = 2.0
"""Seconds for what has to be looked up before numbers can be told."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of buckets for what takes a moment."""

Kind = Literal["counter", "gauge", "histogram"]


class Count:
    """How often something has happened. It only rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, by: float = 1) -> None:
        self.value += by


class Reading:
    """A number that is read from elsewhere when it is told; None where there is none."""

    __slots__ = ("read",)

    def __init__(self) -> None:
        self.read: Callable[[], float | None] = lambda: None

    def follow(self, read: Callable[[], float | None]) -> None:
        """`read`: takes no time, and raises nothing."""
        self.read = read


class Histogram:
    """How often something took how long, by upper bounds; each value counts in one bucket."""

    __slots__ = ("bounds", "buckets", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.buckets = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """It took `value`, so often; a negative one is clocks that differ, and counts as 0."""
        value = max(value, 0.0)
        self.buckets[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        return sum(self.buckets)


Series = TypeVar("Series", Count, Reading, Histogram)


@dataclass(frozen=True, slots=True)
class Family(Generic[Series]):
    """The series of one name, by the values of their labels."""

    name: str
    text: str
    kind: Kind
    labels: tuple[str, ...]
    make: Callable[[], Series]
    most: int = MAX_SERIES
    series: dict[tuple[str, ...], Series] = field(default_factory=dict)

    def of(self, *values: str) -> Series:
        """The series with these values of the labels; made where it is new.

        Raises:
            ValueError: so many labels there are not.
        """
        found = self.series.get(values)
        if found is not None:
            return found
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}")
        if len(self.series) >= self.most:
            values = (OTHER,) * len(self.labels)
        return self.series.setdefault(values, self.make())


class Metrics:
    """All families of one process, in the order in which they were named first."""

    def __init__(self) -> None:
        self._families: dict[str, Family[Any]] = {}
        self._refreshers: list[Callable[[], Awaitable[None]]] = []

    @property
    def families(self) -> tuple[Family[Any], ...]:
        return tuple(self._families.values())

    def counter(self, name: str, text: str, *, labels: Sequence[str] = ()) -> Family[Count]:
        """What is counted. `name` as in Prometheus, ending in `_total`."""
        return self._family(name, text, "counter", labels, Count)

    def counted(self, name: str, text: str, *, labels: Sequence[str] = ()) -> Family[Reading]:
        """As `counter`, of what is counted elsewhere."""
        return self._family(name, text, "counter", labels, Reading)

    def gauge(self, name: str, text: str, *, labels: Sequence[str] = ()) -> Family[Reading]:
        """What rises and falls."""
        return self._family(name, text, "gauge", labels, Reading)

    def histogram(
        self,
        name: str,
        text: str,
        *,
        labels: Sequence[str] = (),
        bounds: Sequence[float] = SECONDS,
        most: int = MAX_SERIES,
    ) -> Family[Histogram]:
        """What is measured; `bounds`: of its buckets, ascending, without infinity.

        most: series, where all labels together can have more values, and no stranger makes them up.
        """
        return self._family(name, text, "histogram", labels, lambda: Histogram(bounds), most=most)

    def before(self, refresh: Callable[[], Awaitable[None]]) -> None:
        """Have `refresh` look up what a `Reading` tells, each time before numbers are told.

        Whatever it raises is its own business: what it would have found is then not told.
        """
        self._refreshers.append(refresh)

    async def refresh(self, *, within: float = REFRESH) -> None:
        """Look up what has to be, for so many seconds at most, and whatever comes of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.gather(
                    *(refresh() for refresh in self._refreshers), return_exceptions=True
                )

    def _family(
        self,
        name: str,
        text: str,
        kind: Kind,
        labels: Sequence[str],
        make: Callable[[], Series],
        *,
        most: int = MAX_SERIES,
    ) -> Family[Series]:
        """The family of this name: the parts of a process may share one.

        Raises:
            ValueError: there is another one of that name.
        """
        new = Family(name, text, kind, tuple(labels), make, most)
        family = self._families.setdefault(name, new)
        if (family.text, family.kind, family.labels) != (text, kind, tuple(labels)):
            raise ValueError(f"{name} is another family already")
        if not family.labels:
            family.of()  # it is told from the start, as 0
        return cast("Family[Series]", family)
