"""A revocation hits what was ended and nothing else, for as long as it can hit anything."""

import pytest

from auth.errors import Code, RevokedTokenError
from auth.revocation import RevocationList
from tests.auth.forge import ALICE, NOW, SESSION

BOB = "00000000-0000-4000-8000-00000000b0b0"


def _revoked(
    held: RevocationList, *, session: str | None = SESSION, subject: str = ALICE, epoch: int = 3
) -> bool:
    try:
        held.check(session=session, subject=subject, epoch=epoch)
    except RevokedTokenError as refusal:
        assert refusal.code == Code.REVOKED  # noqa: PT017 - the answer is the return value
        return True
    return False


def test_nothing_is_revoked_at_first() -> None:
    assert not _revoked(RevocationList())
    assert len(RevocationList()) == 0


def test_a_session_that_was_ended_is_refused_and_no_other() -> None:
    held = RevocationList()
    held.revoke_session(SESSION, until=NOW)

    assert _revoked(held)
    assert _revoked(held, subject=BOB, epoch=99)
    assert not _revoked(held, session="another-session-00001")
    assert not _revoked(held, session=None)


def test_a_subjects_tokens_are_refused_up_to_the_epoch() -> None:
    held = RevocationList()
    held.revoke_subject(ALICE, epoch=4, until=NOW)

    assert _revoked(held, epoch=3)
    assert _revoked(held, epoch=0, session=None)
    assert not _revoked(held, epoch=4)
    assert not _revoked(held, subject=BOB, epoch=0)


def test_a_revocation_never_grows_weaker() -> None:
    """Statements may come twice and out of order."""
    held = RevocationList()
    held.revoke_subject(ALICE, epoch=4, until=NOW + 100)
    held.revoke_subject(ALICE, epoch=2, until=NOW + 50)
    held.revoke_session(SESSION, until=NOW + 100)
    held.revoke_session(SESSION, until=NOW + 50)

    held.prune(NOW + 60)

    assert len(held) == 2
    assert _revoked(held, session=None, epoch=3)
    assert _revoked(held, subject=BOB)


def test_a_revocation_grows_stronger() -> None:
    held = RevocationList()
    held.revoke_subject(ALICE, epoch=2, until=NOW + 50)
    held.revoke_subject(ALICE, epoch=4, until=NOW + 100)
    held.revoke_session(SESSION, until=NOW + 50)
    held.revoke_session(SESSION, until=NOW + 100)

    held.prune(NOW + 60)

    assert _revoked(held, session=None, epoch=3)
    assert _revoked(held, subject=BOB)


def test_a_revocation_goes_when_it_can_hit_nothing_any_more() -> None:
    held = RevocationList()
    held.revoke_session(SESSION, until=NOW + 100)
    held.revoke_subject(ALICE, epoch=4, until=NOW + 100)

    held.prune(NOW + 99.9)
    assert len(held) == 2
    held.prune(NOW + 100)
    assert len(held) == 0
    assert not _revoked(held)


def test_what_is_forgotten_is_what_is_due_and_nothing_beside_it() -> None:
    """Whatever the order in which it came; a subject may be named as a session is."""
    held = RevocationList()
    held.revoke_session(SESSION, until=NOW + 50)
    held.revoke_session("session-that-stays", until=NOW + 100)
    held.revoke_session("session-that-goes", until=NOW + 10)
    held.revoke_subject(SESSION, epoch=4, until=NOW + 100)

    held.prune(NOW + 50)

    assert len(held) == 2
    assert not _revoked(held)
    assert _revoked(held, session="session-that-stays")
    assert _revoked(held, session=None, subject=SESSION, epoch=3)


def test_what_was_forgotten_may_be_revoked_again() -> None:
    held = RevocationList()
    held.revoke_session(SESSION, until=NOW)
    held.prune(NOW)

    held.revoke_session(SESSION, until=NOW + 50)
    held.prune(NOW)

    assert _revoked(held)


@pytest.mark.parametrize("session", ["", SESSION + "x", SESSION.upper()])
def test_a_session_is_compared_whole(session: str) -> None:
    held = RevocationList()
    held.revoke_session(SESSION, until=NOW)

    assert not _revoked(held, session=session)
