"""Reads what `services.telemetry.exposition` writes: Prometheus' text format, version 0.0.4.

For who looks at few families of a service, often: the client library's parser would bring all of
that library (`docs/decisions/0024-telemetry.md`). Nothing in a text is believed to be of that form.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

Labels = Mapping[str, str]

_SAMPLE: Final = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+([^ \t]+)(?:[ \t]+-?[0-9]+)?"
)
_LABEL: Final = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"[ \t]*(?:,|$)')
_ESCAPED: Final = re.compile(r"\\(.)")
_OF_HISTOGRAM: Final = re.compile(r"_(?:bucket|sum|count)$")


class UnreadableError(ValueError):
    """It is no exposition of metrics."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a family, by its labels."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one process, as of one moment.

    families: the names of those that it has, also where nothing is counted in them yet.
    samples: by the sample's own name, `…_bucket` and so on of a histogram.
    """

    families: frozenset[str] = frozenset()
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[Sample, ...]:
        return self.samples.get(name, ())

    def one(self, name: str) -> float | None:
        """The number of a family that has one alone, if it has."""
        return next((sample.value for sample in self.of(name)), None)


def read_exposition(text: str, wanted: Collection[str]) -> Numbers:
    """The families of these names; of the others, only the form is looked at.

    Numbers that are none, or infinite, are left out.

    Raises:
        UnreadableError: a line is not of that format, or there is none at all.
    """
    families: set[str] = set()
    samples: dict[str, list[Sample]] = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            word = line.split(None, 3)[1:3]
            if len(word) == 2 and word[0] == "TYPE" and word[1] in wanted:  # noqa: PLR2004
                families.add(word[1])
            continue
        found = _SAMPLE.fullmatch(line.strip())
        if found is None:
            raise UnreadableError("a line is no sample of a metric")
        name, labels, value = found.groups()
        if name in wanted or _OF_HISTOGRAM.sub("", name) in wanted:
            number = _number(value)
            if math.isfinite(number):
                samples.setdefault(name, []).append(Sample(_labels(labels or ""), number))
    if "# TYPE" not in text:
        raise UnreadableError("there is no metric in it")
    return Numbers(frozenset(families), {name: tuple(found) for name, found in samples.items()})


def _labels(text: str) -> Labels:
    labels, at = {}, 0
    while at < len(text):
        found = _LABEL.match(text, at)
        if found is None:
            raise UnreadableError("the labels of a sample are none")
        name, value = found.groups()
        labels[name] = _ESCAPED.sub(_unescaped, value)
        at = found.end()
    return labels


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found.group(1) == "n" else found.group(1)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UnreadableError("the value of a sample is no number") from None
