"""The limits are those that docs/wire-contract.md promises to other implementations."""

from auth.assertion import MAX_ASSERTION_LIFE
from auth.claims import LEEWAY
from auth.keyset import MAX_STATEMENT
from auth.policy import at_processing
from auth.seal import MAX_EVENT_AGE, MAX_REQUEST_AGE
from auth.statement import STATEMENT_LIFE
from auth.strict import MAX_TOKEN
from auth.tokens import MAX_ACCESS_LIFE, MAX_ACTORS, MAX_CARNET_LIFE


def test_times_are_as_written_down() -> None:
    minute, day = 60, 24 * 60 * 60

    assert LEEWAY == 30
    assert 15 * minute == MAX_ACCESS_LIFE
    assert MAX_CARNET_LIFE == at_processing().max_age.total_seconds() == 5 * minute
    assert 5 * minute == MAX_ASSERTION_LIFE
    assert 2 * minute == MAX_REQUEST_AGE
    assert 7 * day == MAX_EVENT_AGE
    assert 90 * day == STATEMENT_LIFE


def test_sizes_are_as_written_down() -> None:
    assert MAX_TOKEN == 4096
    assert MAX_STATEMENT == 256 * 1024
    assert MAX_ACTORS == 3
