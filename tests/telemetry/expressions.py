"""The metrics that an expression of Prometheus' language names, and those that a scrape has."""

import re
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACES: Final = re.compile(r"\{[^}]*\}")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)")
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()\b")
_WORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "by", "without"})

PROMETHEUS_OWN: Final = frozenset({"up"})
BROKERS: Final = "rabbitmq_"
"""How the names of what the broker tells begin."""


def named_in(expression: str) -> set[str]:
    """Without functions, labels, durations and what is quoted."""
    bare = _BRACES.sub("", _QUOTED.sub('""', expression))
    bare = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", bare))
    return {name for name in _NAME.findall(bare) if name not in _WORDS}


def of_the_broker(names: set[str]) -> set[str]:
    """Those that no service of ours tells, but the broker (`test_queues`)."""
    return {name for name in names if name.startswith(BROKERS)}


def samples_of(scraped: str) -> set[str]:
    """Names as Prometheus keeps them: a histogram is three."""
    names: set[str] = set()
    for family in text_string_to_metric_families(scraped):
        names.update(sample.name for sample in family.samples)
        if family.type == "histogram":
            names.update(f"{family.name}{end}" for end in ("_bucket", "_sum", "_count"))
        names.add(f"{family.name}_total" if family.type == "counter" else family.name)
    return names


def labels_of(scraped: str) -> dict[str, set[str]]:
    """The labels of each sample's name."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(scraped):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
