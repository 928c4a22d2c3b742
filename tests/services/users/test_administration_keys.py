"""Operators have the next key sign, or one never sign, and read the audit log."""

from typing import Any

import pytest

from auth.keys import SigningKey
from auth.trust import FixedTrust
from messaging.rpc import Refused
from services.contracts.administration import (
    AuditPage,
    AuditView,
    EndSession,
    GetIssuerKeys,
    ReadAudit,
    RetireIssuerKey,
    RotateIssuerKey,
)
from services.contracts.users import Refresh
from services.users.acts import insert_new
from services.users.audit_search import Sought, look_up
from services.users.rotation import KNOWN_AFTER
from services.users.signing import signing_kid
from services.users.store import IssuerKey
from tests.services.users.desk import Desk, T, claims
from tests.services.users.realm import Users, everywhere

# ---- Keys


async def _lists_next(desk: Desk) -> str:
    """The root has listed one more key, long enough ago; its id."""
    users, realm, now = desk.users, desk.users.realm, desk.users.clock()
    key = realm.put(SigningKey.generate())
    draft = realm.draft()
    draft.add_next_key("issuer", key.public)
    async with users.database.transaction() as work:
        await insert_new(work, IssuerKey, kid=key.kid, listed_at=int(now) - KNOWN_AFTER)
    trust = FixedTrust(realm.trust_root.verify(draft.sign(realm.root, now=now), now=now))
    users.clock.now += 1  # so that the key folder is looked into anew
    users.with_trust(trust)
    return key.kid


async def _signing(users: Users) -> str | None:
    async with users.database.session() as work:
        return await signing_kid(work)


@everywhere
async def test_the_next_key_signs_once_an_operator_says_so(desk: Desk) -> None:
    old, following = desk.users.realm.issuer_key.kid, await _lists_next(desk)

    assert (await desk.ask(RotateIssuerKey(access_token=T))).kid == following

    assert (await desk.users.handlers.keys.signing_key()).kid == following
    entry = await desk.last()
    assert (entry["what"], entry["outcome"], entry["whom"]) == ("rotate_key", "done", following)
    assert (entry["who"], entry["session"]) == (desk.claims.sub, desk.claims.sid)
    keys = (await desk.ask(GetIssuerKeys(access_token=T))).keys
    shown = {key.kid: (key.state, key.signing, key.retired_at, key.here) for key in keys}
    now = int(desk.users.clock())
    assert shown == {
        old: ("active", False, now, True),
        following: ("next", True, None, True),
    }


@everywhere
async def test_two_operators_who_replace_the_same_key_use_up_one_next_key(desk: Desk) -> None:
    """Or one, who was not answered and asks again."""
    old = desk.users.realm.issuer_key.kid
    following = await _lists_next(desk)
    asked = RotateIssuerKey(access_token=T, instead_of=old)

    assert (await desk.ask(asked)).kid == following
    await _lists_next(desk)
    assert await desk.refusal(asked) == "rotated_meanwhile"

    assert await _signing(desk.users) == following


async def test_without_a_next_key_an_operator_is_told_what_to_do(desk: Desk) -> None:
    before = await _signing(desk.users)

    with pytest.raises(Refused, match="carnet trust rotate issuer") as refusal:
        await desk.ask(RotateIssuerKey(access_token=T))

    assert refusal.value.code == "no_next_key"
    assert await _signing(desk.users) == before
    assert ((await desk.last())["outcome"], (await desk.last())["why"]) == (
        "refused",
        "no_next_key",
    )


@everywhere
async def test_a_next_key_that_an_operator_retires_never_signs(desk: Desk) -> None:
    present, following = desk.users.realm.issuer_key.kid, await _lists_next(desk)

    assert (await desk.ask(RetireIssuerKey(access_token=T, kid=following))).kid == present

    entry = await desk.last()
    assert (entry["what"], entry["outcome"], entry["whom"]) == ("retire_key", "done", following)
    assert (entry["who"], entry["session"]) == (desk.claims.sub, desk.claims.sid)
    assert await desk.refusal(RotateIssuerKey(access_token=T)) == "no_next_key"
    keys = {key.kid: key for key in (await desk.ask(GetIssuerKeys(access_token=T))).keys}
    assert (keys[following].since, keys[following].retired_at) == (None, int(desk.users.clock()))


@everywhere
async def test_where_the_key_that_signs_is_retired_the_next_one_signs(desk: Desk) -> None:
    present, following = desk.users.realm.issuer_key.kid, await _lists_next(desk)

    assert (await desk.ask(RetireIssuerKey(access_token=T, kid=present))).kid == following

    assert await _signing(desk.users) == following
    entry = await desk.last()
    assert (entry["what"], entry["whom"]) == ("retire_key", present)
    assert entry["why"] == f"{following} signs now"


@everywhere
@pytest.mark.parametrize("kid", ["x" * 43, "", "\x00", "ü" * 64])
async def test_a_key_that_is_not_there_cannot_be_retired(desk: Desk, kid: str) -> None:
    assert await desk.refusal(RetireIssuerKey(access_token=T, kid=kid)) == "unknown_key"

    entry = await desk.last()
    assert (entry["outcome"], entry["whom"], entry["why"]) == ("refused", None, "unknown_key")


# ---- The audit log


async def _audit(desk: Desk, **asked: Any) -> list[AuditView]:
    """All that is found, page by page; each page ends where the next begins."""
    found: list[AuditView] = []
    page: AuditPage | None = None
    while page is None or page.next is not None:
        before = None if page is None else page.next
        page = await desk.ask(ReadAudit(access_token=T, before=before, **asked))
        found += page.entries
    return found


@everywhere
@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_the_log_is_read_from_its_end_page_by_page(desk: Desk, limit: int) -> None:
    for _ in range(3):
        await desk.users.sign_in()
    log = await desk.users.log()

    read = await _audit(desk, limit=limit)

    shared = AuditView.model_fields.keys() - {"id"}
    assert [entry.model_dump(include=shared) for entry in reversed(read)] == [
        {name: entry[name] for name in shared} for entry in log
    ]


@everywhere
async def test_what_is_written_meanwhile_moves_nothing_to_another_page(desk: Desk) -> None:
    first = await desk.ask(ReadAudit(access_token=T, limit=2))
    rest = await desk.ask(ReadAudit(access_token=T, limit=2, before=first.next))
    await desk.users.sign_in()

    assert await desk.ask(ReadAudit(access_token=T, limit=2, before=first.next)) == rest


@everywhere
async def test_the_log_is_searched_by_kind_outcome_and_party(desk: Desk) -> None:
    users, ada = desk.users, claims(desk.ada.access_token)
    with pytest.raises(Refused):
        await users.handlers.refresh(Refresh(refresh_token="x"), users.gateway)
    await desk.ask(EndSession(access_token=T, sid=ada.sid or ""))

    async def kinds(**asked: Any) -> list[str]:
        return [entry.what for entry in await _audit(desk, limit=1, **asked)]

    assert await kinds(what="sign_in") == ["sign_in", "sign_in"]
    assert await kinds(outcome="refused") == ["refresh"]
    assert await kinds(what="sign_in", outcome="refused") == []
    assert await kinds(about=ada.sid) == ["revoke_session", "sign_in"]
    assert await kinds(about=ada.sub, what="sign_in") == ["sign_in"]
    assert await kinds(about=desk.claims.sub) == ["revoke_session", "sign_in", "add_account"]
    assert await kinds(about="operator:grace") == ["add_account"]
    assert await kinds(about=ada.sub[:-1]) == []
    for unwritten in ("\x00", "%", "nobody"):
        assert await kinds(about=unwritten) == []
        assert await kinds(what=unwritten) == []


@everywhere
async def test_a_search_goes_on_where_one_answer_has_looked_at_enough(desk: Desk) -> None:
    users, ada = desk.users, claims(desk.ada.access_token)
    for _ in range(7):
        await users.sign_in("grace")
    sought = Sought(about=ada.sid)
    found: list[dict[str, Any]] = []
    before: int | None = None
    async with users.database.session() as work:
        for _ in range(20):
            part = await look_up(work, sought, before=before, limit=2, at_once=3)
            found += part.entries
            before = part.before
            if before is None:
                break

    assert before is None
    assert [entry["what"] for entry in found] == ["sign_in"]


async def test_beyond_the_end_of_the_log_its_latest_entries_are_read(desk: Desk) -> None:
    latest = await desk.ask(ReadAudit(access_token=T, limit=2))

    assert await desk.ask(ReadAudit(access_token=T, limit=2, before=2**53)) == latest
