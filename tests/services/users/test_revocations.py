"""What ends access becomes a revocation, with it or not at all, and is handed out in pages."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from auth.errors import RevokedTokenError, UntrustedTokenError
from auth.feed import Feed
from auth.jws import parse_claims
from auth.statements import MAX_PAGE, Revocation, SnapshotClaims
from auth.strict import parse_token
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.database import open_database
from messaging.migrations import upgrade
from messaging.rpc import Refused
from services.contracts.users import GetRevocations, Refresh, RevokeToken, SignOut
from services.users.revocations import REACH, Revocations
from services.users.sessions import Ended
from services.users.statements import Statements
from services.users.store import MIGRATIONS, Revoked
from services.users.store import Feed as FeedRow
from tests.services.users.realm import Users, everywhere


async def revoked(users: Users) -> list[Revoked]:
    async with users.database.session() as work:
        return list(await work.scalars(select(Revoked).order_by(Revoked.seq)))


async def snapshot(users: Users, after: int = 0) -> str:
    page = await users.handlers.revocations(GetRevocations(after=after), users.gateway)
    return page.snapshot


async def party(users: Users) -> Feed:
    """A relying party that has taken all there is."""
    feed = Feed(users.realm.trust_root, users.handlers.trust.key_set)
    more = True
    while more:
        after = max(feed.applied, 0)
        more = feed.take_snapshot(await snapshot(users, after), now=users.clock(), ticks=0)
    return feed


async def verifier(users: Users) -> Verifier:
    """Of a relying party that has taken all there is."""
    feed = await party(users)
    return Verifier(FixedTrust(feed.key_set, feed.revocations), audience="api-gateway")


async def _signs_out(users: Users) -> None:
    tokens = await users.sign_in()
    await users.handlers.sign_out(SignOut(access_token=tokens.access_token), users.gateway)


async def _uses_a_spent_token(users: Users) -> None:
    tokens = await users.sign_in()
    request = Refresh(refresh_token=tokens.refresh_token or "")
    await users.handlers.refresh(request, users.gateway)
    with pytest.raises(Refused):
        await users.handlers.refresh(request, users.gateway)


async def _revokes_a_token(users: Users) -> None:
    tokens = await users.sign_in()
    request = RevokeToken(token=tokens.refresh_token or "")
    await users.handlers.revoke_token(request, users.gateway)


async def _operator_ends_the_session(users: Users) -> None:
    await users.sign_in()
    async with users.act() as act:
        await users.handlers.sessions.end(act, await only_session(users), Ended.REVOKED)


async def only_session(users: Users) -> str:
    entries = [entry for entry in await users.log() if entry["what"] == "sign_in"]
    return str(entries[-1]["session"])


ENDS: dict[str, Callable[[Users], Awaitable[None]]] = {
    "signed_out": _signs_out,
    "refresh_token_reused": _uses_a_spent_token,
    "revoked": _revokes_a_token,
    "revoked by an operator": _operator_ends_the_session,
}


@everywhere
@pytest.mark.parametrize("why", ENDS)
async def test_the_end_of_a_session_is_a_revocation_of_its_tokens(users: Users, why: str) -> None:
    await ENDS[why](users)

    (row,) = await revoked(users)
    assert row.seq == 1
    assert row.sid == await only_session(users)
    assert (row.sub, row.epoch) == (None, None)
    assert row.why == why.partition(" ")[0]
    assert row.until == int(users.clock()) + REACH


CHANGES: dict[str, Callable[[Users], Awaitable[None]]] = {
    "change_password": lambda u: u.handlers.accounts.change_password(u.operator, "ada", "x" * 12),
    "change_roles": lambda u: u.handlers.accounts.change_roles(u.operator, "ada", ["operator"]),
    "disable": lambda u: u.handlers.accounts.disable(u.operator, "ada"),
    "revoke_user": lambda u: u.handlers.accounts.end_sessions(u.operator, "ada"),
}


@everywhere
@pytest.mark.parametrize("why", CHANGES)
async def test_a_change_of_an_account_voids_its_tokens_up_to_now(users: Users, why: str) -> None:
    before = await users.sign_in()

    await CHANGES[why](users)

    (row,) = await revoked(users)
    account = await users.handlers.accounts.find("ada")
    assert account is not None
    assert (row.sub, row.epoch, row.sid) == (account.sub, 2, None)
    assert (row.why, account.epoch) == (why, 2)
    with pytest.raises(RevokedTokenError):
        (await verifier(users)).access_token(before.access_token, now=users.clock())


async def test_tokens_after_a_change_hold(users: Users) -> None:
    await users.handlers.accounts.end_sessions(users.operator, "ada")
    after = await users.sign_in()

    claims = (await verifier(users)).access_token(after.access_token, now=users.clock())

    assert claims.epoch == 2


@everywhere
async def test_what_is_rolled_back_revokes_nothing_and_uses_no_number(users: Users) -> None:
    told: list[Revocation] = []
    users.parts.revocations.on_commit(told.append)

    async def fails_after_it_revoked() -> None:
        async with users.act() as act:
            await users.parts.revocations.revoke_session(act.work, "s" * 36, "test")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails_after_it_revoked()

    assert await revoked(users) == []
    assert told == []

    await _signs_out(users)
    assert [row.seq for row in await revoked(users)] == [1]
    assert [revocation.seq for revocation in told] == [1]


@everywhere
async def test_numbers_are_given_without_a_gap_to_those_who_revoke_at_once(users: Users) -> None:
    sessions = [await users.sign_in() for _ in range(8)]

    await asyncio.gather(
        *(
            users.handlers.sign_out(SignOut(access_token=s.access_token), users.gateway)
            for s in sessions
        )
    )

    assert [row.seq for row in await revoked(users)] == list(range(1, 9))


async def test_signing_out_twice_is_one_revocation(users: Users) -> None:
    tokens = await users.sign_in()

    for _ in range(2):
        await users.handlers.sign_out(SignOut(access_token=tokens.access_token), users.gateway)

    assert len(await revoked(users)) == 1


async def fill(users: Users, count: int) -> None:
    """So many sessions were ended, one each second."""
    now = int(users.clock())
    rows = [
        {"seq": n, "sid": f"{n:036}", "until": now + n, "at": now, "why": "test"}
        for n in range(1, count + 1)
    ]
    async with users.database.transaction() as work:
        if rows:
            await work.execute(insert(Revoked), rows)
        await work.execute(update(FeedRow).values(seq=count))


@everywhere
@pytest.mark.parametrize("count", [0, 1, MAX_PAGE - 1, MAX_PAGE, MAX_PAGE + 1, 2 * MAX_PAGE + 5])
async def test_a_relying_party_gets_all_of_them_page_by_page(users: Users, count: int) -> None:
    await fill(users, count)

    feed = await party(users)

    assert feed.applied == count
    assert len(feed.revocations) == count


async def test_a_page_leaves_out_what_hits_nothing_any_more(users: Users) -> None:
    await fill(users, 10)
    users.clock.now += 4

    feed = await party(users)

    assert feed.applied == 10
    assert len(feed.revocations) == 6


@everywhere
async def test_what_hits_nothing_any_more_is_forgotten(users: Users) -> None:
    await fill(users, 10)
    users.clock.now += 4

    await users.parts.revocations.prune()

    assert [row.seq for row in await revoked(users)] == [5, 6, 7, 8, 9, 10]
    assert (await party(users)).applied == 10


async def test_who_asks_for_what_follows_gets_no_more(users: Users) -> None:
    await fill(users, 5)

    page = parse_claims(parse_token(await snapshot(users, after=3)), SnapshotClaims)

    assert [entry.seq for entry in page.entries] == [4, 5]
    assert (page.after, page.upto, page.seq) == (3, 5, 5)


async def test_who_has_counted_further_than_this_feed_gets_all(users: Users) -> None:
    """Its numbers are those of another feed: of a database that is no more."""
    await fill(users, 5)

    page = parse_claims(parse_token(await snapshot(users, after=70)), SnapshotClaims)

    assert (page.after, len(page.entries)) == (0, 5)


async def test_every_database_has_a_feed_of_its_own(users: Users, tmp_path: Path) -> None:
    other = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    await upgrade(other, MIGRATIONS)
    database = open_database(other)
    try:
        feed = await Revocations(database, users.clock).feed()
    finally:
        await database.close()

    assert feed != await users.parts.revocations.feed()


async def test_a_restored_database_is_followed_once_its_feed_has_another_id(users: Users) -> None:
    """Its numbers were heard before: they are taken anew, and nothing heard is forgotten."""

    async def heartbeat(seq: int) -> str:
        handlers = users.handlers
        running = Statements(
            handlers.keys, handlers.trust, users.parts.revocations, clock=users.clock
        )
        return await running.heartbeat(seq)

    await fill(users, 5)
    held = await party(users)
    held.hear(await heartbeat(5), now=users.clock(), ticks=0)
    async with users.database.transaction() as work:
        await work.execute(delete(Revoked).where(Revoked.seq > 2))
        await work.execute(update(FeedRow).values(seq=2))
    users.clock.now += 2

    with pytest.raises(UntrustedTokenError):
        held.hear(await heartbeat(2), now=users.clock(), ticks=2)
    async with users.database.transaction() as work:
        await users.parts.revocations.renew_feed(work)
    held.hear(await heartbeat(2), now=users.clock(), ticks=2)
    held.take_snapshot(await snapshot(users), now=users.clock(), ticks=2)

    held.require_fresh(users.clock(), 2)
    assert held.applied == 2
    with pytest.raises(RevokedTokenError):
        held.revocations.check(session=f"{5:036}", subject="x", epoch=1)
