"""What a check has found: in order, doubtful, or in the way."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`FAIL` keeps a service from starting; `WARN` is told, and does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. `detail`: one line for people that says what is, and what to do."""

    check: str
    verdict: Verdict
    detail: str


def ok(check: str, detail: str) -> Finding:
    return Finding(check, Verdict.OK, detail)


def warn(check: str, detail: str) -> Finding:
    return Finding(check, Verdict.WARN, detail)


def fail(check: str, detail: str) -> Finding:
    return Finding(check, Verdict.FAIL, detail)


def failed(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are in the way."""
    return [finding for finding in findings if finding.verdict is Verdict.FAIL]
