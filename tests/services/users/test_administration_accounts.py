"""Operators see accounts and their sessions, and end sessions."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from auth.errors import RevokedTokenError
from auth.feed import Feed
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.rpc import Refused
from services.contracts.administration import (
    AccountsPage,
    EndSession,
    EndSessions,
    FindAccounts,
    FindSessions,
    GetIssuerKeys,
)
from services.contracts.scopes import CUSTOMER, OPERATOR
from services.contracts.topology import GATEWAY, OPERATOR_DESK
from services.contracts.users import GetRevocations, Refresh, SignOut, Tokens
from services.users.acts import insert_new
from services.users.session_life import SessionLife
from services.users.session_list import SessionList
from services.users.store import Account, Revoked, Session
from tests.services.users.desk import NOBODY, Desk, T, claims, sid_of
from tests.services.users.realm import Users, everywhere

DAY = 24 * 3600


# ---- Accounts


async def _pages(desk: Desk, **asked: Any) -> list[AccountsPage]:
    pages: list[AccountsPage] = []
    while not pages or pages[-1].next is not None:
        after = pages[-1].next if pages else None
        pages.append(await desk.ask(FindAccounts(access_token=T, after=after, **asked)))
    return pages


def _names(pages: list[AccountsPage]) -> list[str]:
    return [account.name for page in pages for account in page.accounts]


async def _add(users: Users, *names: str, first: int = 0) -> None:
    """Accounts that nobody can sign in to: what the others take time for is their passwords."""
    async with users.database.transaction() as work:
        for number, name in enumerate(names, first):
            sub = f"{number:08}-0000-4000-8000-00000000000a"
            values = {"password_hash": "x", "roles": [CUSTOMER], "epoch": 1, "enabled": True}
            await insert_new(work, Account, sub=sub, name=name, created_at=1000, **values)


@everywhere
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 50])
async def test_every_account_is_on_one_page(desk: Desk, limit: int) -> None:
    """Also where the database has an order of its own for dots and dashes."""
    made = ["a-b", "a.b", "a_b", "ab1", "ab-", "ab.", "ab_", "z00", "0ab"]
    await _add(desk.users, *made)

    pages = await _pages(desk, limit=limit)

    assert sorted(_names(pages)) == sorted([*made, "ada", "grace"])
    assert {len(page.accounts) for page in pages[:-1]} <= {limit}
    assert 0 < len(pages[-1].accounts) <= limit


@everywhere
async def test_who_comes_or_goes_between_two_pages_moves_nobody_else(desk: Desk) -> None:
    await _add(desk.users, "bob", "carl", "dora")
    first = await desk.ask(FindAccounts(access_token=T, limit=2))
    assert _names([first]) == ["ada", "bob"]
    await _add(desk.users, "abe", first=9)
    async with desk.users.database.transaction() as work:
        await work.execute(delete(Account).where(Account.name == "bob"))

    second = await desk.ask(FindAccounts(access_token=T, limit=2, after=first.next))

    assert _names([second]) == ["carl", "dora"]


SEARCHES: dict[str, list[str]] = {
    "d": ["ada", "dora"],
    "ADA": ["ada"],
    "_": ["a_b"],
    "a_": ["a_b"],
    "-": ["a-b"],
    ".": [],
    "%": [],
    "\\": [],
    "'": [],
    "ada\x00": [],
    "ä": [],
    "a b": [],
    "": ["a-b", "a_b", "ada", "axb", "dora", "grace"],
    "00000003-0000-4000-8000-00000000000a": ["dora"],
    "00000003-0000-4000-8000-00000000000": [],
}


@everywhere
async def test_a_search_finds_a_part_of_a_name_or_a_whole_subject(desk: Desk) -> None:
    await _add(desk.users, "a_b", "axb", "a-b", "dora")

    found = {part: sorted(_names(await _pages(desk, search=part))) for part in SEARCHES}

    assert found == {part: sorted(names) for part, names in SEARCHES.items()}


@everywhere
async def test_an_account_is_shown_as_it_is_with_its_live_sessions(desk: Desk) -> None:
    await desk.users.sign_in("ada")
    await desk.users.sign_in("ada", OPERATOR_DESK)
    await desk.ask(EndSession(access_token=T, sid=sid_of(desk.ada)))
    await _add(desk.users, "bob")

    page = await desk.ask(FindAccounts(access_token=T))

    ada, bob, grace = page.accounts
    assert (ada.sub, ada.roles) == (claims(desk.ada.access_token).sub, (CUSTOMER,))
    assert (ada.enabled, ada.created_at) == (True, int(desk.users.clock()))
    assert (ada.sessions, bob.sessions, grace.sessions) == (2, 0, 1)
    assert (grace.sub, grace.roles) == (desk.claims.sub, (OPERATOR,))
    assert page.next is None


@everywhere
@pytest.mark.parametrize("after", ["nobody-comes-after", "\x00", "ada\n"])
async def test_after_the_last_name_there_is_nobody(desk: Desk, after: str) -> None:
    page = await desk.ask(FindAccounts(access_token=T, after=after))

    assert (page.accounts, page.next) == ((), None)


# ---- Sessions


@everywhere
async def test_sessions_are_shown_the_latest_first_with_how_each_ended(desk: Desk) -> None:
    users, began = desk.users, int(desk.users.clock())
    users.clock.now += 10
    out = await users.sign_in()
    await users.handlers.sign_out(SignOut(access_token=out.access_token), users.gateway)
    users.clock.now += 10
    used = await users.sign_in()
    users.clock.now += 10
    await users.handlers.refresh(Refresh(refresh_token=used.refresh_token or ""), users.gateway)

    sub = claims(desk.ada.access_token).sub
    sessions = (await desk.ask(FindSessions(access_token=T, sub=sub))).sessions

    assert [s.sid for s in sessions] == [sid_of(used), sid_of(out), sid_of(desk.ada)]
    refreshed, ended, first = sessions
    assert (refreshed.created_at, refreshed.used_at) == (began + 20, began + 30)
    assert (refreshed.live, refreshed.expires_at) == (True, began + 30 + 7 * DAY)
    assert (ended.live, ended.ended_at, ended.ended_why) == (False, began + 10, "signed_out")
    assert (first.live, first.ended_at, first.ended_why) == (True, None, None)
    assert (first.client_id, first.scope) == (GATEWAY, None)


@everywhere
async def test_the_latest_hundred_sessions_are_shown(desk: Desk) -> None:
    sub, now = claims(desk.ada.access_token).sub, int(desk.users.clock())
    async with desk.users.database.transaction() as work:
        for number in range(101):
            times = {"created_at": now + 1 + number, "used_at": now + 1 + number}
            sid = f"{number:036}"
            work.add(Session(sid=sid, sub=sub, client_id=GATEWAY, epoch=1, **times))

    sessions = (await desk.ask(FindSessions(access_token=T, sub=sub))).sessions

    assert [s.sid for s in sessions] == [f"{number:036}" for number in range(100, 0, -1)]


@pytest.mark.parametrize("sub", [NOBODY, "", "ada", "\x00", "ü", "x" * 200])
@everywhere
async def test_whose_account_is_not_there_has_no_sessions_to_show(desk: Desk, sub: str) -> None:
    assert await desk.refusal(FindSessions(access_token=T, sub=sub)) == "unknown_account"


SPANS = (-1.0, -0.5, 0.0, 0.5, 1.0)


@everywhere
async def test_what_the_database_counts_as_live_is_what_counts_as_live(desk: Desk) -> None:
    """To the second, also where a life is no whole number of them."""
    users, now = desk.users, 2_000_000_000
    life = SessionLife(timedelta(seconds=1000.5), timedelta(seconds=100))
    sessions = SessionList(life, lambda: now)
    async with users.database.transaction() as work:
        (account,) = await users.parts.accounts.page(work, search="ada")
        for number, (old, idle) in enumerate((o, i) for o in SPANS for i in SPANS):
            created, used = int(now - 1000.5 - old), int(now - 100 - idle)
            times = {"created_at": created, "used_at": used}
            values = {"client_id": GATEWAY, "epoch": 1 + number % 2, **times}
            work.add(Session(sid=f"{number:036}", sub=account.sub, **values))
        await work.flush()

        counted = await sessions.count_live(work, [account])
        seen = await sessions.of(work, account)

        live = sum(session.live for session in seen)
        assert 0 < live < len(SPANS) ** 2
        assert counted == {account.sub: live}
        account.enabled = False
        await work.flush()
        assert await sessions.count_live(work, [account]) == {}
        assert not any(session.live for session in await sessions.of(work, account))


async def _heard_of(users: Users) -> Feed:
    """A relying party that has just taken what is revoked, under the issuer's signature."""
    feed = Feed(users.realm.trust_root, users.handlers.trust.key_set)
    page = await users.handlers.revocations(GetRevocations(), users.gateway)
    feed.take_snapshot(page.snapshot, now=users.clock(), ticks=0)
    return feed


async def _is_believed(users: Users, tokens: Tokens) -> bool:
    feed = await _heard_of(users)
    verifier = Verifier(FixedTrust(feed.key_set, feed.revocations), audience=GATEWAY)
    try:
        verifier.access_token(tokens.access_token, now=users.clock())
    except RevokedTokenError:
        return False
    return True


@everywhere
async def test_a_session_that_an_operator_ends_is_void_for_everybody(desk: Desk) -> None:
    users, sid = desk.users, sid_of(desk.ada)
    other = await users.sign_in()

    ended = await desk.ask(EndSession(access_token=T, sid=sid))

    assert ended.sid == sid
    assert not await _is_believed(users, desk.ada)
    assert await _is_believed(users, other)
    with pytest.raises(Refused):
        await users.handlers.refresh(
            Refresh(refresh_token=desk.ada.refresh_token or ""), users.gateway
        )
    async with users.database.session() as work:
        stored = await work.get_one(Session, sid)
    assert stored.ended_why == "revoked"


@everywhere
async def test_who_ended_whose_session_is_in_the_audit_log(desk: Desk) -> None:
    await desk.ask(EndSession(access_token=T, sid=sid_of(desk.ada)))

    entry = await desk.last()
    assert (entry["what"], entry["outcome"]) == ("revoke_session", "done")
    assert (entry["who"], entry["client"]) == (desk.claims.sub, OPERATOR_DESK)
    ada = claims(desk.ada.access_token)
    assert (entry["whom"], entry["session"]) == (ada.sub, ada.sid)
    assert entry["why"] == f"by session {desk.claims.sid}"


async def test_a_session_that_is_ended_twice_is_one_revocation(desk: Desk) -> None:
    for _ in range(2):
        await desk.ask(EndSession(access_token=T, sid=sid_of(desk.ada)))

    async with desk.users.database.session() as work:
        assert len((await work.scalars(select(Revoked))).all()) == 1


async def test_an_operator_may_end_the_own_session_and_has_none_then(desk: Desk) -> None:
    await desk.ask(EndSession(access_token=T, sid=desk.claims.sid or ""))

    assert await desk.refusal(GetIssuerKeys(access_token=T)) == "invalid_grant"


@everywhere
@pytest.mark.parametrize("sid", [NOBODY, "", "\x00", "ada'; --", "é" * 36])
async def test_a_session_that_is_not_there_cannot_be_ended(desk: Desk, sid: str) -> None:
    assert await desk.refusal(EndSession(access_token=T, sid=sid)) == "unknown_session"

    entry = await desk.last()
    assert (entry["outcome"], entry["why"]) == ("refused", "unknown_session")
    assert (entry["who"], entry["session"]) == (desk.claims.sub, desk.claims.sid)


@everywhere
async def test_all_of_an_accounts_sessions_end_and_it_may_sign_in_again(desk: Desk) -> None:
    users = desk.users
    other = await users.sign_in("ada", OPERATOR_DESK)

    assert (await desk.ask(EndSessions(access_token=T, name="ada"))).name == "ada"

    assert not await _is_believed(users, desk.ada)
    assert not await _is_believed(users, other)
    assert await _is_believed(users, await users.sign_in())
    entries = [entry for entry in await users.log() if entry["what"] == "revoke_user"]
    (entry,) = entries
    assert (entry["who"], entry["session"]) == (desk.claims.sub, desk.claims.sid)
    assert entry["whom"] == claims(desk.ada.access_token).sub


async def test_an_account_that_is_not_there_has_no_sessions_to_end(desk: Desk) -> None:
    assert await desk.refusal(EndSessions(access_token=T, name="nobody")) == "unknown_account"
    assert (await desk.last())["why"] == "unknown_account"
