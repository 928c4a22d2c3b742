"""The trust feed: what is believed of it, what is fetched, and when nothing may be judged."""

from collections.abc import Callable
from typing import Final

import pytest

from auth.errors import (
    AuthError,
    KeySetError,
    RefusalError,
    RevokedTokenError,
    TrustUnavailableError,
)
from auth.feed import Feed
from auth.jws import CARNET, sign_token
from auth.keys import SigningKey
from auth.statements import HEARTBEAT, REVOCATION, Herald, Revocation
from tests.auth.forge import ALICE, ISSUER, NOW, SESSION, parties

FEED: Final = "feed-0000000000000001"
OTHER_FEED: Final = "feed-0000000000000002"
UNTIL: Final = NOW + 90_000

herald: Final = Herald(ISSUER, FEED)


def heartbeat(seq: int = 0, *, version: int = 1, now: float = NOW) -> str:
    return herald.heartbeat(seq=seq, version=version, key=parties().issuer, now=now)


def session_revoked(seq: int, session: str = SESSION) -> str:
    revoked = Revocation(seq=seq, until=UNTIL, sid=session)
    return herald.revocation(revoked, key=parties().issuer, now=NOW)


def page(
    *entries: Revocation,
    after: int = 0,
    upto: int,
    seq: int | None = None,
    version: int = 1,
    now: float = NOW,
) -> str:
    return herald.snapshot(
        list(entries),
        after=after,
        upto=upto,
        seq=upto if seq is None else seq,
        version=version,
        key=parties().issuer,
        now=now,
    )


def silent_feed() -> Feed:
    return Feed(parties().trust_root, parties().key_set())


def fresh_feed(seq: int = 0) -> Feed:
    """A feed that has heard a heartbeat and holds the snapshot up to it."""
    feed = silent_feed()
    feed.hear(heartbeat(seq), now=NOW, ticks=0)
    feed.take_snapshot(page(upto=seq), now=NOW, ticks=0)
    feed.require_fresh(NOW, 0)
    return feed


def is_revoked(feed: Feed, session: str = SESSION, *, epoch: int = 1) -> bool:
    try:
        feed.revocations.check(session=session, subject=ALICE, epoch=epoch)
    except RevokedTokenError:
        return True
    return False


def test_it_tells_when_a_heartbeat_last_counted() -> None:
    feed = silent_feed()
    before = feed.heard_at
    feed.hear(heartbeat(now=NOW), now=NOW, ticks=5)
    with pytest.raises(RefusalError):
        feed.hear(heartbeat(now=NOW), now=NOW, ticks=7)  # heard before: it counts for nothing

    assert (before, feed.heard_at) == (None, 5)


def test_a_revoked_session_is_refused_at_once() -> None:
    feed = fresh_feed()

    feed.hear(session_revoked(1), now=NOW, ticks=0)

    assert is_revoked(feed)
    assert not is_revoked(feed, "session-of-somebody-else")
    assert feed.applied == 1
    assert not feed.wanted(100)


def test_a_revoked_subject_is_refused_up_to_the_epoch() -> None:
    feed = fresh_feed()
    revoked = Revocation(seq=1, until=UNTIL, sub=ALICE, epoch=3)

    feed.hear(herald.revocation(revoked, key=parties().issuer, now=NOW), now=NOW, ticks=0)

    assert is_revoked(feed, epoch=2)
    assert not is_revoked(feed, epoch=3)


def test_whoever_listens_is_told_of_each_revocation_once_it_is_in_force() -> None:
    feed = silent_feed()
    told: list[tuple[str | None, bool]] = []
    feed.on_revoked(lambda revoked: told.append((revoked.sid, is_revoked(feed))))
    first = Revocation(seq=1, until=UNTIL, sid=SESSION)

    feed.hear(heartbeat(1), now=NOW, ticks=0)
    feed.take_snapshot(page(first, upto=1), now=NOW, ticks=0)
    feed.hear(session_revoked(2, "another-session-00001"), now=NOW, ticks=0)

    assert told == [(SESSION, True), ("another-session-00001", True)]


def test_nothing_is_judged_before_a_snapshot() -> None:
    feed = silent_feed()
    assert feed.wanted(0).revocations == 0
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)

    feed.hear(heartbeat(), now=NOW, ticks=0)
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)

    feed.take_snapshot(page(upto=0), now=NOW, ticks=0)
    feed.require_fresh(NOW, 0)


def test_a_snapshot_is_as_good_as_a_heartbeat_from_when_it_was_asked_for() -> None:
    """Decision 21. The answer may have been held back for as long as a question waits."""
    feed = silent_feed()

    feed.take_snapshot(page(upto=0, now=NOW + 3), now=NOW, ticks=0)

    feed.require_fresh(NOW + 10, 10)
    with pytest.raises(TrustUnavailableError, match="silent"):
        feed.require_fresh(NOW + 10.1, 10.1)


def test_a_page_that_another_one_follows_keeps_nothing_fresh() -> None:
    feed = silent_feed()
    first = Revocation(seq=1, until=UNTIL, sid=SESSION)

    feed.take_snapshot(page(first, upto=1, seq=2), now=NOW, ticks=0)

    with pytest.raises(TrustUnavailableError, match="not complete"):
        feed.require_fresh(NOW, 0)


def test_a_snapshot_that_is_older_than_what_was_heard_keeps_nothing_fresh() -> None:
    """Whoever kept one, and could make it look like the answer, gains no second of silence."""
    feed = fresh_feed()
    feed.hear(heartbeat(now=NOW + 2), now=NOW + 2, ticks=2)

    feed.lose_track(12)
    feed.take_snapshot(page(upto=0), now=NOW + 12, ticks=12)

    with pytest.raises(TrustUnavailableError, match="silent"):
        feed.require_fresh(NOW + 12.1, 12.1)


def test_a_snapshot_that_took_its_time_takes_back_nothing_that_was_heard_meanwhile() -> None:
    feed = silent_feed()
    feed.hear(heartbeat(), now=NOW, ticks=2)

    feed.take_snapshot(page(upto=0), now=NOW, ticks=0)

    feed.require_fresh(NOW + 10, 12)


def test_a_snapshot_after_a_lost_connection_ends_the_silence_as_well() -> None:
    feed = fresh_feed()

    feed.lose_track(20)
    feed.take_snapshot(page(upto=0, now=NOW + 20), now=NOW + 20, ticks=20)

    feed.require_fresh(NOW + 20, 20)


def test_many_revocations_may_be_told_in_one() -> None:
    feed = fresh_feed(seq=1)
    many = [Revocation(seq=seq, until=UNTIL, sid=f"session-{seq:030}") for seq in (2, 3, 5)]

    feed.hear(page(*many, after=1, upto=5, seq=9), now=NOW, ticks=0)

    assert feed.applied == 5
    assert is_revoked(feed, many[2].sid or "")
    feed.require_fresh(NOW, 0)


def test_many_told_in_one_that_leave_others_out_are_felt_and_the_others_are_fetched() -> None:
    feed = fresh_feed(seq=1)

    feed.hear(page(Revocation(seq=4, until=UNTIL, sid=SESSION), after=3, upto=4), now=NOW, ticks=5)

    assert is_revoked(feed)
    assert feed.applied == 1
    assert feed.wanted(6).revocations == 1


def test_many_told_in_one_are_no_answer_to_who_has_lost_track() -> None:
    """It may be a recording of some seconds ago: what was told since would be missing."""
    feed = fresh_feed(seq=1)
    feed.lose_track(0)

    feed.hear(page(Revocation(seq=2, until=UNTIL, sid=SESSION), after=1, upto=2), now=NOW, ticks=0)

    assert is_revoked(feed)
    assert feed.wanted(0).revocations == 2
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)


def test_many_told_in_one_by_another_feed_are_left_to_its_snapshot() -> None:
    feed = fresh_feed()
    other = Herald(ISSUER, OTHER_FEED).snapshot(
        [Revocation(seq=1, until=UNTIL, sid=SESSION)],
        after=0,
        upto=1,
        seq=1,
        version=1,
        key=parties().issuer,
        now=NOW,
    )

    feed.hear(other, now=NOW, ticks=0)

    assert not is_revoked(feed)
    assert feed.applied == 0


def test_many_told_in_one_long_ago_are_refused() -> None:
    feed = fresh_feed()
    told = page(Revocation(seq=1, until=UNTIL, sid=SESSION), upto=1)

    with pytest.raises(RefusalError):
        feed.hear(told, now=NOW + 31, ticks=31)

    assert not is_revoked(feed)


def test_silence_makes_it_stale_and_a_heartbeat_fresh_again() -> None:
    feed = fresh_feed()

    feed.require_fresh(NOW, 10)
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 10.1)

    feed.hear(heartbeat(now=NOW + 11), now=NOW + 11, ticks=11)
    feed.require_fresh(NOW + 11, 11)


def test_what_was_told_in_a_silence_is_had_before_anything_is_judged_again() -> None:
    """A link between two brokers was cut, say: we kept our connection, and lost what was told."""
    feed = fresh_feed()

    feed.hear(heartbeat(1, now=NOW + 60), now=NOW + 60, ticks=60)

    assert feed.wanted(60).revocations == 0  # at once: nothing is on its way any more
    with pytest.raises(TrustUnavailableError, match="not complete"):
        feed.require_fresh(NOW + 60, 60)
    missed = Revocation(seq=1, until=UNTIL, sid=SESSION)
    snapshot = herald.snapshot(
        [missed], after=0, upto=1, seq=1, version=1, key=parties().issuer, now=NOW + 60
    )
    feed.take_snapshot(snapshot, now=NOW + 60, ticks=60)
    feed.require_fresh(NOW + 60, 60)
    assert is_revoked(feed)


def test_a_key_set_announced_after_a_silence_is_had_before_anything_is_judged_again() -> None:
    feed = fresh_feed()

    feed.hear(heartbeat(version=2, now=NOW + 60), now=NOW + 60, ticks=60)

    assert feed.wanted(60).key_set
    with pytest.raises(TrustUnavailableError, match="newer key set"):
        feed.require_fresh(NOW + 60, 60)
    feed.adopt(successor(), now=NOW + 60, ticks=60)
    feed.require_fresh(NOW + 60, 60)


@pytest.mark.parametrize("jump", [31, -31])
def test_a_clock_that_jumps_judges_nothing_until_a_heartbeat_agrees_with_it(jump: int) -> None:
    feed = fresh_feed()

    feed.require_fresh(NOW + 1 + jump // 2, 1)
    with pytest.raises(TrustUnavailableError, match="jumped"):
        feed.require_fresh(NOW + 1 + jump, 1)
    with pytest.raises(RefusalError):
        feed.hear(heartbeat(now=NOW + 2), now=NOW + 2 + jump, ticks=2)
    with pytest.raises(TrustUnavailableError, match="jumped"):
        feed.require_fresh(NOW + 2 + jump, 2)

    feed.hear(heartbeat(now=NOW + 4), now=NOW + 4, ticks=4)
    feed.require_fresh(NOW + 5, 5)


def test_a_clock_set_right_is_judged_by_once_a_heartbeat_agrees_with_it() -> None:
    feed = fresh_feed()
    slow = 25
    feed.hear(heartbeat(now=NOW + 2), now=NOW + 2 - slow, ticks=2)
    feed.require_fresh(NOW + 3 - slow, 3)

    feed.hear(heartbeat(now=NOW + 4), now=NOW + 4, ticks=4)

    feed.require_fresh(NOW + 5, 5)


def test_a_replayed_heartbeat_keeps_nothing_fresh() -> None:
    feed = fresh_feed()

    with pytest.raises(RefusalError):
        feed.hear(heartbeat(), now=NOW + 9, ticks=9)

    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW + 11, 11)


def test_what_was_told_while_the_connection_was_lost_is_fetched_before_anything_is_judged() -> None:
    feed = fresh_feed(seq=4)

    feed.lose_track(0)

    assert feed.wanted(0).revocations == 4
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)
    missed = Revocation(seq=5, until=UNTIL, sid=SESSION)
    feed.take_snapshot(page(missed, after=4, upto=5), now=NOW, ticks=0)
    feed.require_fresh(NOW, 0)
    assert is_revoked(feed)


def test_an_answer_from_before_the_connection_was_lost_does_not_have_what_was_told_since() -> None:
    feed = fresh_feed()
    feed.lose_track(2)

    assert feed.take_snapshot(page(upto=0, now=NOW + 1), now=NOW + 1, ticks=1)

    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW + 2, 2)
    missed = Revocation(seq=1, until=UNTIL, sid=SESSION)
    assert not feed.take_snapshot(page(missed, upto=1, now=NOW + 2), now=NOW + 2, ticks=2)
    feed.require_fresh(NOW + 2, 2)
    assert is_revoked(feed)


def test_a_gap_is_fetched_after_a_second_and_ends_all_judging_when_it_stays() -> None:
    feed = fresh_feed()

    feed.hear(session_revoked(2), now=NOW, ticks=5)

    assert is_revoked(feed)  # felt at once, although the first is missing
    assert not feed.wanted(5.9)
    assert feed.wanted(6).revocations == 0
    for beat in (8, 14):
        feed.hear(heartbeat(2, now=NOW + beat), now=NOW + beat, ticks=beat)
    feed.require_fresh(NOW + 15, 15)
    with pytest.raises(TrustUnavailableError, match="a revocation is missing"):
        feed.require_fresh(NOW + 15, 15.1)

    feed.take_snapshot(page(upto=2), now=NOW, ticks=15.1)
    feed.require_fresh(NOW + 15, 15.1)


def test_a_gap_that_closes_by_itself_is_not_fetched() -> None:
    feed = fresh_feed()

    feed.hear(session_revoked(2), now=NOW, ticks=0)
    feed.hear(session_revoked(1, "another-session-00001"), now=NOW, ticks=0.5)

    assert feed.applied == 2
    assert not feed.wanted(100)


def test_a_heartbeat_tells_of_a_revocation_that_was_never_heard() -> None:
    feed = fresh_feed()

    feed.hear(heartbeat(3, now=NOW + 2), now=NOW + 2, ticks=2)

    assert feed.wanted(3).revocations == 0


def successor(*withdrawn: str, version: int = 2) -> str:
    """The next statement, without these keys of the issuer's."""
    draft = parties().draft()
    draft.version = version
    for kid in withdrawn:
        draft.withdraw_key("issuer", kid)
    return draft.sign(parties().root, now=NOW)


def test_nothing_is_judged_at_the_start_by_a_key_set_that_was_replaced() -> None:
    """What waits in the queue may be sealed by the very key that the new one withdraws."""
    feed = silent_feed()
    feed.hear(heartbeat(version=2), now=NOW, ticks=0)
    feed.take_snapshot(page(upto=0, version=2), now=NOW, ticks=0)

    assert feed.wanted(0).key_set
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)

    feed.adopt(successor(), now=NOW, ticks=0)
    feed.require_fresh(NOW, 0)


def test_a_key_set_that_comes_before_the_snapshot_is_enough_once_that_is_there() -> None:
    feed = silent_feed()
    feed.hear(heartbeat(version=2), now=NOW, ticks=0)

    feed.adopt(successor(), now=NOW, ticks=0)
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)

    feed.take_snapshot(page(upto=0, version=2), now=NOW, ticks=0)
    feed.require_fresh(NOW, 0)


def test_a_key_set_that_was_announced_while_the_connection_was_lost_is_fetched_first() -> None:
    feed = fresh_feed()

    feed.lose_track(0)
    feed.take_snapshot(page(upto=0, version=2), now=NOW, ticks=0)

    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)


def test_a_statement_on_its_way_stops_nobody_and_one_that_never_comes_does() -> None:
    feed = fresh_feed()

    for ticks in range(2, 14, 2):
        feed.hear(heartbeat(version=2, now=NOW + ticks), now=NOW + ticks, ticks=ticks)

    feed.require_fresh(NOW + 12, 12)
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW + 12, 12.1)


def test_a_newer_statement_that_is_not_the_newest_leaves_the_newest_wanted() -> None:
    feed = silent_feed()
    feed.hear(heartbeat(version=3), now=NOW, ticks=0)
    feed.take_snapshot(page(upto=0, version=3), now=NOW, ticks=0)

    feed.adopt(successor(version=2), now=NOW, ticks=0)

    assert feed.wanted(0).key_set
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)


def test_what_a_thief_of_the_issuers_key_told_ends_with_the_key() -> None:
    """Its revocation of an innocent, and its count that no genuine heartbeat would reach."""
    feed = fresh_feed()
    thief = parties().issuer
    innocent = Revocation(seq=1, until=2**40, sub=ALICE, epoch=2**31)
    feed.hear(herald.revocation(innocent, key=thief, now=NOW), now=NOW, ticks=0)
    beyond = herald.heartbeat(seq=2**53, version=2**53, key=thief, now=NOW + 1)
    feed.hear(beyond, now=NOW + 1, ticks=1)
    assert is_revoked(feed)

    feed.adopt(successor(thief.kid), now=NOW, ticks=1)
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW + 1, 1)

    held = parties().issuer_next
    beat = herald.heartbeat(seq=0, version=2, key=held, now=NOW + 2)
    feed.hear(beat, now=NOW + 2, ticks=2)
    anew = herald.snapshot([], after=0, upto=0, seq=0, version=2, key=held, now=NOW + 2)
    feed.take_snapshot(anew, now=NOW + 2, ticks=2)
    feed.require_fresh(NOW + 2, 2)
    assert not is_revoked(feed)


def test_an_answer_from_before_a_key_was_withdrawn_lacks_what_was_forgotten_with_it() -> None:
    feed, held = fresh_feed(), parties().issuer_next
    revoked = Revocation(seq=1, until=UNTIL, sid=SESSION)
    feed.hear(herald.revocation(revoked, key=held, now=NOW + 2), now=NOW + 2, ticks=2)

    feed.adopt(successor(parties().issuer.kid), now=NOW + 2, ticks=2)
    before = herald.snapshot([], after=0, upto=0, seq=0, version=2, key=held, now=NOW + 1)

    assert feed.take_snapshot(before, now=NOW + 1, ticks=1)
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW + 2, 2)
    anew = herald.snapshot([revoked], after=0, upto=1, seq=1, version=2, key=held, now=NOW + 2)
    feed.take_snapshot(anew, now=NOW + 2, ticks=2)
    feed.require_fresh(NOW + 2, 2)
    assert is_revoked(feed)


def test_pages_follow_each_other_until_all_is_known() -> None:
    feed = silent_feed()
    feed.hear(heartbeat(3), now=NOW, ticks=0)
    first = Revocation(seq=1, until=UNTIL, sid="another-session-00001")
    last = Revocation(seq=3, until=UNTIL, sid=SESSION)

    more = feed.take_snapshot(page(first, upto=1, seq=3), now=NOW, ticks=0)
    end = feed.take_snapshot(page(last, after=1, upto=3), now=NOW, ticks=0)

    assert (more, end) == (True, False)
    assert is_revoked(feed)
    assert is_revoked(feed, "another-session-00001")


def test_a_new_key_set_is_announced_and_adopted() -> None:
    feed = fresh_feed()
    draft = parties().draft()
    draft.version = 2

    feed.hear(heartbeat(version=2, now=NOW + 2), now=NOW + 2, ticks=2)
    assert feed.wanted(2).key_set
    feed.hear(draft.sign(parties().root, now=NOW), now=NOW + 2, ticks=2)

    assert feed.key_set.version == 2
    assert not feed.wanted(2)


def test_the_same_key_set_again_changes_nothing() -> None:
    feed = fresh_feed()

    assert feed.adopt(feed.key_set.statement, now=NOW, ticks=0) is False


def test_an_issuer_that_counts_anew_is_followed_and_what_was_revoked_stays_so() -> None:
    feed = fresh_feed(seq=7)
    feed.hear(session_revoked(8), now=NOW, ticks=0)
    anew = Herald(ISSUER, OTHER_FEED)

    beat = anew.heartbeat(seq=0, version=1, key=parties().issuer, now=NOW + 2)
    feed.hear(beat, now=NOW + 2, ticks=2)

    assert feed.wanted(2).revocations == 0
    assert is_revoked(feed)
    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW + 2, 2)


def test_a_snapshot_of_an_issuer_that_counts_anew_is_begun_again_from_its_first_page() -> None:
    feed = fresh_feed(seq=7)
    feed.hear(session_revoked(8), now=NOW, ticks=0)
    anew = Herald(ISSUER, OTHER_FEED)
    first = Revocation(seq=1, until=UNTIL, sid="another-session-00001")

    more = feed.take_snapshot(
        anew.snapshot([first], after=0, upto=1, seq=2, version=1, key=parties().issuer, now=NOW),
        now=NOW,
        ticks=0,
    )

    assert more
    assert feed.wanted(0).revocations == feed.applied == 1
    assert is_revoked(feed)
    assert is_revoked(feed, "another-session-00001")


def test_a_revocation_that_is_told_again_changes_nothing() -> None:
    feed = fresh_feed()

    for _ in range(2):
        feed.hear(session_revoked(1), now=NOW, ticks=0)

    assert feed.applied == 1
    assert is_revoked(feed)
    assert not feed.wanted(100)


def test_a_revocation_of_an_unknown_feed_waits_for_its_snapshot() -> None:
    feed = silent_feed()

    feed.hear(session_revoked(1), now=NOW, ticks=0)

    assert feed.wanted(0).revocations == 0


def test_an_expired_statement_ends_all_judging() -> None:
    feed = fresh_feed()

    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(feed.key_set.expires_at + 1, 0)


Forged = Callable[[], str]


def _older_key_set() -> str:
    draft = parties().draft()
    draft.version = 0
    return draft.sign(parties().root, now=NOW)


def _other_key_set_of_the_same_version() -> str:
    draft = parties().draft()
    draft.withdraw_client("report-service")
    return draft.sign(parties().root, now=NOW)


def _of_another_issuer() -> str:
    draft = parties().draft()
    draft.version, draft.issuer = 2, "another-issuer"
    return draft.sign(parties().root, now=NOW)


def _signed_by(key: SigningKey, typ: str = REVOCATION) -> str:
    claims = {"iss": ISSUER, "iat": NOW, "feed": FEED, "jti": "x" * 16, "seq": 1, "until": UNTIL}
    return sign_token({**claims, "sid": SESSION}, typ=typ, key=key)


FORGED: Final[dict[str, Forged]] = {
    "revocation by a stranger": lambda: _signed_by(parties().stranger),
    "revocation by a listed client": lambda: _signed_by(parties().gateway),
    "revocation by a retired key": lambda: _signed_by(parties().issuer_retired),
    "revocation by a retired key, dated back": lambda: herald.revocation(
        Revocation(seq=6, until=UNTIL, sid=SESSION),
        key=parties().issuer_retired,
        now=parties().RETIRED_AT - 1,
    ),
    "revocation of yesterday": lambda: herald.revocation(
        Revocation(seq=6, until=UNTIL, sid=SESSION), key=parties().issuer, now=NOW - 86_400
    ),
    "carnet in the place of a revocation": lambda: _signed_by(parties().issuer, CARNET),
    "heartbeat by a stranger": lambda: herald.heartbeat(
        seq=9, version=1, key=parties().stranger, now=NOW + 1
    ),
    "heartbeat of yesterday": lambda: heartbeat(9, now=NOW - 86_400),
    "heartbeat of tomorrow": lambda: heartbeat(9, now=NOW + 86_400),
    "heartbeat that counts back": lambda: heartbeat(3, now=NOW + 1),
    "heartbeat beyond all numbers": lambda: sign_token(
        {"iss": ISSUER, "iat": NOW + 1, "feed": FEED, "seq": 2**53 + 1, "version": 1},
        typ=HEARTBEAT,
        key=parties().issuer,
    ),
    "heartbeat of another issuer": lambda: Herald("another-issuer", FEED).heartbeat(
        seq=9, version=1, key=parties().issuer, now=NOW + 1
    ),
    "revocation of nothing": lambda: sign_token(
        {"iss": ISSUER, "iat": NOW, "feed": FEED, "jti": "x" * 16, "seq": 6, "until": UNTIL},
        typ=REVOCATION,
        key=parties().issuer,
    ),
    "key set by an issuer's key": lambda: parties().draft().sign(parties().issuer, now=NOW),
    "older key set": _older_key_set,
    "other key set of the same version": _other_key_set_of_the_same_version,
    "key set of another issuer": _of_another_issuer,
    "empty": lambda: "",
    "noise": lambda: "not.a.token",
}


@pytest.mark.parametrize("case", FORGED)
def test_what_is_not_the_issuers_word_changes_nothing(case: str) -> None:
    feed = fresh_feed(seq=5)
    told: list[Revocation] = []
    feed.on_revoked(told.append)

    with pytest.raises((RefusalError, KeySetError)):
        feed.hear(FORGED[case](), now=NOW, ticks=0)

    assert not is_revoked(feed)
    assert told == []
    assert (feed.applied, feed.key_set.version) == (5, 1)
    assert not feed.wanted(100)


STRANGE_PAGES: Final[dict[str, Forged]] = {
    "by a stranger": lambda: herald.snapshot(
        [], after=0, upto=0, seq=0, version=1, key=parties().stranger, now=NOW
    ),
    "of yesterday": lambda: herald.snapshot(
        [], after=0, upto=0, seq=0, version=1, key=parties().issuer, now=NOW - 86_400
    ),
    "that leaves others out": lambda: page(after=9, upto=12),
    "out of order": lambda: sign_token(
        {
            "iss": ISSUER,
            "iat": NOW,
            "feed": FEED,
            "after": 0,
            "upto": 2,
            "seq": 2,
            "version": 1,
            "entries": [
                {"seq": 2, "until": UNTIL, "sid": SESSION},
                {"seq": 1, "until": UNTIL, "sid": SESSION},
            ],
        },
        typ="carnet-snapshot+jwt",
        key=parties().issuer,
    ),
    "a heartbeat in its place": lambda: heartbeat(5),
}


@pytest.mark.parametrize("case", STRANGE_PAGES)
def test_a_page_that_is_not_the_one_asked_for_is_refused(case: str) -> None:
    feed = silent_feed()
    feed.hear(heartbeat(), now=NOW, ticks=0)

    with pytest.raises(AuthError):
        feed.take_snapshot(STRANGE_PAGES[case](), now=NOW, ticks=0)

    with pytest.raises(TrustUnavailableError):
        feed.require_fresh(NOW, 0)
