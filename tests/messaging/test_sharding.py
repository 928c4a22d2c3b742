"""Which shard a command goes to."""

import re
import uuid
from collections import Counter

import pytest

from messaging.sharding import MAX_SHARDS, Sharding, shard_of
from messaging.topology import WorkQueue

THINGS = [str(uuid.UUID(int=number)) for number in range(10_000)]


def test_a_thing_has_the_same_shard_on_every_machine_and_for_ever() -> None:
    """Else what is queued, and what comes after an update, would not be in one queue."""
    assert [shard_of(thing, 8) for thing in ("", "tea", "7", "é", *THINGS[:6])] == [
        5,
        6,
        4,
        5,
        7,
        4,
        6,
        2,
        5,
        4,
    ]


@pytest.mark.parametrize("shards", [2, 3, 8, MAX_SHARDS])
def test_things_are_spread_evenly(shards: int) -> None:
    counts = Counter(shard_of(thing, shards) for thing in THINGS)

    fair = len(THINGS) / shards
    assert set(counts) == set(range(shards))
    # Four standard deviations of a fair spread.
    assert all(abs(count - fair) < 4 * fair**0.5 for count in counts.values())


@pytest.mark.parametrize("shards", [1, 2, 7, 8])
def test_with_one_shard_more_nothing_moves_but_to_the_new_one(shards: int) -> None:
    before = {thing: shard_of(thing, shards) for thing in THINGS}
    after = {thing: shard_of(thing, shards + 1) for thing in THINGS}

    moved = {thing for thing in THINGS if before[thing] != after[thing]}
    assert {after[thing] for thing in moved} == {shards}
    fair = len(THINGS) / (shards + 1)
    assert abs(len(moved) - fair) < 4 * fair**0.5


def test_what_stays_together_is_an_order_or_a_subject() -> None:
    order, subject = "order-of-alice-1", "alice"
    about = {"about": order, "subject": subject}

    assert Sharding(8).shard(**about) == shard_of(order, 8)
    assert Sharding(8, "subject").shard(**about) == shard_of(subject, 8)
    assert Sharding().shard(**about) is None


def test_one_shard_is_the_queue_itself_and_nothing_else() -> None:
    one = WorkQueue("w")

    assert one.consumed == ("w",)
    assert one.exchanges() == ()
    assert {queue.name for queue in one.queues()} == {
        "w",
        "w.dead",
        *(retry.name for retry in one.retries),
    }


def test_a_replica_may_have_some_shards_and_always_has_what_names_none() -> None:
    four = WorkQueue("w", 4)

    assert four.consumed_by([1, 3]) == ("w", "w.1", "w.3")
    assert four.consumed_by([]) == ("w", "w.0", "w.1", "w.2", "w.3")


@pytest.mark.parametrize("shards", [0, -1, MAX_SHARDS + 1])
def test_there_are_no_other_numbers_of_shards(shards: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"w: {shards} shards")):
        WorkQueue("w", shards)
