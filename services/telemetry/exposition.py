"""Metrics as Prometheus reads them: its text format, version 0.0.4.

Written here: the client library takes 15 MiB and a quarter of a second to be imported, and a lock
for each number (`docs/decisions/0024-telemetry.md`).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from messaging.metrics import Family, Histogram, Metrics, Reading

PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


async def exposition(metrics: Metrics) -> str:
    """All that is counted and measured, as of now."""
    await metrics.refresh()
    return "".join(f"{line}\n" for family in metrics.families for line in _lines(family))


def _lines(family: Family[Any]) -> Iterator[str]:
    yield f"# HELP {family.name} {family.text}"
    yield f"# TYPE {family.name} {family.kind}"
    for values, series in family.series.items():
        labels = [
            f'{name}="{value.translate(_ESCAPES)}"'
            for name, value in zip(family.labels, values, strict=True)
        ]
        if isinstance(series, Histogram):
            yield from _buckets(family.name, labels, series)
            continue
        value = series.read() if isinstance(series, Reading) else series.value
        if value is not None:
            yield _sample(family.name, labels, value)


def _buckets(name: str, labels: Sequence[str], histogram: Histogram) -> Iterator[str]:
    """Prometheus' buckets hold all up to their bound, the smaller ones too."""
    bounds = (*histogram.bounds, math.inf)
    for bound, held in zip(bounds, accumulate(histogram.buckets), strict=True):
        yield _sample(f"{name}_bucket", [*labels, f'le="{_number(bound)}"'], held)
    yield _sample(f"{name}_sum", labels, histogram.sum)
    yield _sample(f"{name}_count", labels, histogram.count)


def _sample(name: str, labels: Sequence[str], value: float) -> str:
    return (
        f"{name}{{{','.join(labels)}}} {_number(value)}" if labels else f"{name} {_number(value)}"
    )


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
