"""What a check has found: in order, doubtful, or in the way."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`FAIL` keeps a service from starting; `WARN` is told, and does not.

    `SKIP`: it could not be looked at, so nothing is known of it.
    """

    OK = "ok"
    SKIP = "skip"
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


def skip(check: str, detail: str) -> Finding:
    return Finding(check, Verdict.SKIP, detail)


def warn(check: str, detail: str) -> Finding:
    return Finding(check, Verdict.WARN, detail)


def fail(check: str, detail: str) -> Finding:
    return Finding(check, Verdict.FAIL, detail)
