"""What waits is bounded in number and in bytes."""

import pytest

from messaging.backlog import Backlog
from messaging.errors import BacklogFullError


def test_a_place_is_free_again_after_its_block() -> None:
    backlog = Backlog(1)
    for _ in range(3):
        with backlog.place(10):
            assert len(backlog) == 1
    assert len(backlog) == 0


def test_a_place_is_free_again_after_a_failure() -> None:
    backlog = Backlog(1)
    with pytest.raises(LookupError), backlog.place(10):
        raise LookupError
    assert len(backlog) == 0


def test_one_more_than_there_are_places_is_refused() -> None:
    backlog = Backlog(2)
    with backlog.place(1), backlog.place(1), pytest.raises(BacklogFullError, match="2 messages"):
        backlog.place(1).__enter__()


def test_more_bytes_than_it_holds_are_refused() -> None:
    backlog = Backlog(10, max_bytes=100)
    with backlog.place(60), backlog.place(40), pytest.raises(BacklogFullError, match="100 bytes"):
        backlog.place(1).__enter__()


def test_what_is_larger_than_everything_gets_its_place_alone() -> None:
    backlog = Backlog(10, max_bytes=100)
    with backlog.place(1000), pytest.raises(BacklogFullError):
        backlog.place(1).__enter__()
    with backlog.place(1), pytest.raises(BacklogFullError):
        backlog.place(1000).__enter__()
