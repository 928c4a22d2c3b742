"""Marks of messages that are watched, and what is said of each check."""

import itertools

import pytest

from auth.errors import Check
from auth.stopwatch import Stopwatch
from messaging.journeys import Mark, name_of, steps_of
from messaging.outcome import Ack, DeadLetter, Outcome, Retry
from messaging.topology import WorkQueue

STREAM = "q83vEjRWeJCrze8SNFZ4kA"


def watch() -> Stopwatch:
    """One that was at every check of the verifier's."""
    ticks = itertools.count()
    watch = Stopwatch(lambda: next(ticks))
    for check in Check:
        if check is not Check.INBOX:
            watch.enter(check)
    watch.enter(None)
    return watch


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = Mark(STREAM, "7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11", 1_772_443_800_123)

    assert Mark.read(str(mark)) == mark


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param(7, id="a number"),
        pytest.param(b"x", id="bytes"),
        pytest.param("", id="empty"),
        pytest.param(f"{STREAM}.first", id="no time"),
        pytest.param(f"{STREAM[:-1]}.first.1", id="a short stream"),
        pytest.param(f"{STREAM}A.first.1", id="a long stream"),
        pytest.param(f"{STREAM}..1", id="no name"),
        pytest.param(f"{STREAM}.{'x' * 37}.1", id="a long name"),
        pytest.param(f"{STREAM}.first.-1", id="a time before the epoch"),
        pytest.param(f"{STREAM}.first.{'9' * 16}", id="a time without end"),
        pytest.param(f"{STREAM}.first.1\n", id="a line break"),
        pytest.param(f"{STREAM}.first.١", id="digits of another script"),  # noqa: RUF001 - the point
    ],
)
def test_what_has_another_form_is_no_mark(value: object) -> None:
    assert Mark.read(value) is None


@pytest.mark.parametrize(
    ("outcome", "name", "verdicts"),
    [
        pytest.param(Ack(), "done", "+++++++++++++", id="done"),
        pytest.param(
            Retry(WorkQueue("x").retries[0]), "retried", "+++++++++++++", id="to be tried again"
        ),
        pytest.param(DeadLetter("expired", ""), "refused", "+++++++++!...", id="by the times"),
        pytest.param(DeadLetter("missing_token", ""), "refused", "!............", id="at once"),
        pytest.param(DeadLetter("id_reused", ""), "refused", "++++++++++++!", id="by the inbox"),
        pytest.param(DeadLetter("not_owner", ""), "refused", "+++++++++++++", id="by the handler"),
    ],
)
def test_the_outcome_says_what_each_check_found(outcome: Outcome, name: str, verdicts: str) -> None:
    steps = steps_of(outcome, watch())

    marks = {"passed": "+", "refused": "!", "not reached": "."}
    assert "".join(marks[step.verdict] for step in steps) == verdicts
    assert name_of(outcome) == name
    for step in steps:
        timed = step.verdict != "not reached" and step.check is not Check.INBOX
        assert (step.seconds is not None) == timed
