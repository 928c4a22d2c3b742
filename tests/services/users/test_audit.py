"""The audit log: every act has its entry, with it or not at all, and no change goes unseen."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from auth.assertion import sign_assertion
from messaging.rpc import Refused
from services.contracts.users import (
    ClientCredentials,
    Exchange,
    Introspect,
    Refresh,
    Register,
    RevokeToken,
    SignIn,
    SignOut,
)
from services.users.audit import Entry, What, append, check, export, link
from tests.services.users.realm import PASSWORD, REPORTS, Users, as_client, everywhere

ORIGIN = "192.0.2.1"


def assertion(users: Users) -> str:
    return sign_assertion(
        REPORTS, users.realm.seals[REPORTS], audience="user-service", now=users.clock()
    )


async def _exchanges(users: Users, scope: str = "orders:read") -> None:
    access = (await users.sign_in()).access_token
    request = Exchange(subject_token=access, audience="order-service", scope=scope)
    await users.handlers.exchange_token(request, users.gateway)


async def _refreshes(users: Users) -> None:
    token = (await users.sign_in()).refresh_token or ""
    await users.handlers.refresh(Refresh(refresh_token=token), users.gateway)


async def _reuses(users: Users) -> None:
    token = (await users.sign_in()).refresh_token or ""
    await users.handlers.refresh(Refresh(refresh_token=token), users.gateway)
    await users.handlers.refresh(Refresh(refresh_token=token), users.gateway)


async def _signs_out(users: Users) -> None:
    access = (await users.sign_in()).access_token
    await users.handlers.sign_out(SignOut(access_token=access), users.gateway)


async def _revokes(users: Users) -> None:
    token = (await users.sign_in()).access_token
    await users.handlers.revoke_token(RevokeToken(token=token), users.gateway)


async def _has_it_introspected(users: Users) -> None:
    token = (await users.sign_in()).access_token
    request = Introspect(token=token, client_assertion=assertion(users))
    await users.handlers.introspect(request, users.gateway)


SUB = "the account's subject"
SID = "the session"
GATEWAY = "service:api-gateway"

ACTS: dict[str, tuple[Callable[[Users], Awaitable[Any]], dict[str, Any]]] = {
    "registering": (
        lambda u: u.handlers.register(Register(name="grace", password=PASSWORD), u.gateway),
        {"what": "register", "who": GATEWAY, "client": "api-gateway", "why": "customer"},
    ),
    "a name that is taken": (
        lambda u: u.handlers.register(Register(name="ada", password=PASSWORD), u.gateway),
        {"what": "register", "outcome": "refused", "why": "name_taken"},
    ),
    "signing in": (
        lambda u: u.sign_in(),
        {"what": "sign_in", "who": SUB, "whom": SUB, "session": SID, "client": "api-gateway"},
    ),
    "a wrong password": (
        lambda u: u.handlers.sign_in(SignIn(name="ada", password="wrong"), u.gateway),
        {
            "what": "sign_in",
            "outcome": "refused",
            "who": GATEWAY,
            "whom": SUB,
            "session": None,
            "why": "invalid_credentials: wrong_password",
        },
    ),
    "an unknown name": (
        lambda u: u.handlers.sign_in(SignIn(name="nobody", password=PASSWORD), u.gateway),
        {
            "what": "sign_in",
            "outcome": "refused",
            "whom": None,
            "why": "invalid_credentials: unknown_name",
        },
    ),
    "a refresh": (
        _refreshes,
        {"what": "refresh", "who": SUB, "whom": SUB, "session": SID},
    ),
    "a spent refresh token": (
        _reuses,
        {
            "what": "refresh",
            "outcome": "refused",
            "whom": SUB,
            "session": SID,
            "why": "invalid_grant: refresh_token_reused",
        },
    ),
    "no refresh token": (
        lambda u: u.handlers.refresh(Refresh(refresh_token="x"), u.gateway),
        {"what": "refresh", "outcome": "refused", "who": GATEWAY, "why": "invalid_grant"},
    ),
    "client credentials": (
        lambda u: u.handlers.client_credentials(
            ClientCredentials(client_assertion=assertion(u)), u.gateway
        ),
        {"what": "client_credentials", "who": "service:reports", "why": "orders:read"},
    ),
    "no assertion": (
        lambda u: u.handlers.client_credentials(ClientCredentials(client_assertion="x"), u.gateway),
        {
            "what": "client_credentials",
            "outcome": "refused",
            "why": "invalid_client: malformed_token",
        },
    ),
    "an exchange": (
        _exchanges,
        {
            "what": "exchange",
            "who": SUB,
            "session": SID,
            "why": "for order-service: orders:read",
        },
    ),
    "an exchange for more scope": (
        lambda u: _exchanges(u, "orders:read-all"),
        {
            "what": "exchange",
            "outcome": "refused",
            "who": SUB,
            "session": SID,
            "why": "invalid_scope: for order-service",
        },
    ),
    "an exchange for another audience": (
        lambda u: u.handlers.exchange_token(
            Exchange(subject_token="x", audience="no\x00body\n", scope="orders:read"), u.gateway
        ),
        {
            "what": "exchange",
            "outcome": "refused",
            "why": "invalid_target: for no\N{REPLACEMENT CHARACTER}body\N{REPLACEMENT CHARACTER}",
        },
    ),
    "an introspection": (
        _has_it_introspected,
        {"what": "introspect", "who": "service:reports", "client": "api-gateway"},
    ),
    "signing out": (
        _signs_out,
        {"what": "sign_out", "who": SUB, "whom": SUB, "session": SID},
    ),
    "a revoked token": (
        _revokes,
        {"what": "revoke_token", "who": GATEWAY, "whom": SUB, "session": SID},
    ),
    "an unknown token": (
        lambda u: u.handlers.revoke_token(RevokeToken(token="x"), u.gateway),
        {"what": "revoke_token", "outcome": "done", "why": "unknown_token"},
    ),
    "an account added": (
        lambda u: u.handlers.accounts.add(u.operator, "grace", PASSWORD, ["operator"]),
        {"what": "add_account", "who": "operator:grace", "client": None, "why": "operator"},
    ),
    "a password changed": (
        lambda u: u.handlers.accounts.change_password(u.operator, "ada", PASSWORD),
        {"what": "change_password", "who": "operator:grace", "whom": SUB},
    ),
    "roles changed": (
        lambda u: u.handlers.accounts.change_roles(u.operator, "ada", ["operator", "customer"]),
        {"what": "change_roles", "whom": SUB, "why": "customer operator"},
    ),
    "an account disabled": (
        lambda u: u.handlers.accounts.disable(u.operator, "ada"),
        {"what": "disable", "whom": SUB},
    ),
    "an account enabled": (
        lambda u: u.handlers.accounts.enable(u.operator, "ada"),
        {"what": "enable", "whom": SUB},
    ),
    "a user revoked": (
        lambda u: u.handlers.accounts.end_sessions(u.operator, "ada"),
        {"what": "revoke_user", "whom": SUB},
    ),
    "an unknown account": (
        lambda u: u.handlers.accounts.disable(u.operator, "nobody"),
        {"what": "disable", "outcome": "refused", "whom": None, "why": "unknown_account"},
    ),
}


@everywhere
@pytest.mark.parametrize("name", ACTS)
async def test_every_act_has_its_entry(users: Users, name: str) -> None:
    act, expected = ACTS[name]
    account = await users.handlers.accounts.find("ada")
    assert account is not None

    await asyncio.gather(act(users), return_exceptions=True)

    log = await users.log()
    entry = log[-1]
    sessions = [e["session"] for e in log if e["what"] == "sign_in"] or [None]
    meant = {SUB: account.sub, SID: sessions[-1]}
    expected = {"outcome": "done", **expected}
    assert {k: entry[k] for k in expected} == {k: meant.get(v, v) for k, v in expected.items()}
    assert entry["at"] == int(users.clock())
    async with users.database.session() as work:
        assert await check(work) == (len(log), [])


async def test_an_entry_names_the_request_and_hides_the_origin(users: Users) -> None:
    caller = as_client("api-gateway", "a-request-of-our-own")

    await users.handlers.sign_in(SignIn(name="ada", password=PASSWORD, origin=ORIGIN), caller)

    entry = (await users.log())[-1]
    assert entry["request_id"] == "a-request-of-our-own"
    assert len(entry["origin"]) == 64
    assert ORIGIN not in str(entry)


@everywhere
async def test_what_is_rolled_back_leaves_no_entry(users: Users) -> None:
    before = await users.log()

    async def fails() -> None:
        async with users.act():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()

    assert await users.log() == before


@everywhere
async def test_acts_at_once_are_all_in_the_chains(users: Users) -> None:
    await asyncio.gather(
        *(users.handlers.refresh(Refresh(refresh_token="x"), users.gateway) for _ in range(60)),
        return_exceptions=True,
    )

    async with users.database.session() as work:
        assert await check(work) == (61, [])


@pytest.mark.parametrize("users", ["postgres"], indirect=True)
async def test_what_is_written_during_a_check_is_no_fault(users: Users) -> None:
    async with users.database.session() as work:
        checking = asyncio.ensure_future(check(work))
        for _ in range(20):
            with pytest.raises(Refused):
                await users.handlers.refresh(Refresh(refresh_token="x"), users.gateway)
        _, faults = await checking

    assert faults == []


async def test_no_entry_holds_a_token_or_a_password(users: Users) -> None:
    tokens = await users.sign_in()
    exchange = Exchange(
        subject_token=tokens.access_token, audience="order-service", scope="orders:read"
    )
    carnet = (await users.handlers.exchange_token(exchange, users.gateway)).carnet
    await users.handlers.refresh(Refresh(refresh_token=tokens.refresh_token or ""), users.gateway)
    await users.handlers.client_credentials(
        ClientCredentials(client_assertion=assertion(users)), users.gateway
    )

    log = str(await users.log())

    for secret in (PASSWORD, tokens.access_token, tokens.refresh_token or "-", carnet, "eyJ"):
        assert secret not in log


@everywhere
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET why = 'nothing'",
        "UPDATE audit SET who = 'nobody' WHERE 1 = 0 OR what = 'register'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE what = 'register'",
    ],
)
async def test_the_database_refuses_a_change(users: Users, statement: str) -> None:
    before = await users.log()

    async def tries() -> None:
        async with users.database.transaction() as work:
            await work.execute(text(statement))

    with pytest.raises(DBAPIError, match="append-only"):
        await tries()

    assert await users.log() == before


@pytest.mark.parametrize("users", ["postgres"], indirect=True)
async def test_postgresql_refuses_to_empty_the_table(users: Users) -> None:
    async def tries() -> None:
        async with users.database.transaction() as work:
            await work.execute(text("TRUNCATE audit"))

    with pytest.raises(DBAPIError, match="append-only"):
        await tries()


CHANGES: dict[str, tuple[str, str]] = {
    "an entry that was changed": (
        "UPDATE audit SET why = 'nothing' WHERE number = 2 AND chain = 0",
        "chain 0: entry 2 was changed",
    ),
    "an entry that was removed": (
        "DELETE FROM audit WHERE number = 2 AND chain = 0",
        "chain 0: entry 2 is missing",
    ),
    "entries that were removed": (
        "DELETE FROM audit WHERE number IN (1, 2) AND chain = 0",
        "chain 0: entries 1 to 2 are missing",
    ),
    "the last entry removed": (
        "DELETE FROM audit WHERE number = 4 AND chain = 0",
        "chain 0: entry 4 is missing",
    ),
    "all entries removed": (
        "DELETE FROM audit",
        "chain 0: entries 1 to 4 are missing",
    ),
    "another end": (
        "UPDATE audit_chains SET number = 3 WHERE chain = 0",
        "chain 0: its end is not the one that was written",
    ),
    "an end before the last entry": (
        "UPDATE audit_chains SET number = 3 WHERE chain = 0",
        "chain 0: there are entries after its end",
    ),
    "entries of a chain that there is not": (
        "DELETE FROM audit_chains WHERE chain = 0",
        "chain 0: there are entries after its end",
    ),
}


async def four_entries(users: Users) -> None:
    """All in one chain: each is committed before the next begins."""
    for number in range(3):
        async with users.database.transaction() as work:
            await append(work, Entry(What.ENABLE, "somebody", why=str(number)), at=1000)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_shows(users: Users, change: str) -> None:
    await four_entries(users)
    statement, fault = CHANGES[change]

    async with users.database.transaction() as work:
        for event in ("UPDATE", "DELETE"):  # as somebody may who owns the database
            await work.execute(text(f"DROP TRIGGER audit_no_{event}"))
        await work.execute(text(statement))

    async with users.database.session() as work:
        _, faults = await check(work)
    assert fault in faults


async def test_an_entry_that_was_changed_with_its_hash_no_longer_fits(users: Users) -> None:
    await four_entries(users)
    forged = {**(await users.log())[1], "who": "nobody"}

    async with users.database.transaction() as work:
        await work.execute(text("DROP TRIGGER audit_no_UPDATE"))
        await work.execute(
            text("UPDATE audit SET who = 'nobody', hash = :hash WHERE number = 2 AND chain = 0"),
            {"hash": link(forged)},
        )

    async with users.database.session() as work:
        assert (await check(work))[1] == ["chain 0: entry 3 does not follow entry 2"]


@everywhere
async def test_an_export_begins_where_it_is_told_and_keeps_the_order(users: Users) -> None:
    start = int(users.clock()) + 10
    users.clock.now += 10
    for _ in range(3):
        await users.sign_in()
        users.clock.now += 1

    async with users.database.session() as work:
        later = [entry async for entry in export(work, since=start + 1)]

    assert [entry["at"] for entry in later] == [start + 1, start + 2]
    assert later == (await users.log())[-2:]
