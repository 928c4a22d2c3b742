"""Operators see and change what the user service keeps, each by their own access token."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from auth.keys import SigningKey
from auth.tokens import Issuer
from messaging.contract import Request
from messaging.rpc import Refused
from services.contracts import administration
from services.contracts.administration import (
    EndSession,
    EndSessions,
    FindAccounts,
    FindSessions,
    GetIssuerKeys,
    ReadAudit,
    RetireIssuerKey,
    RotateIssuerKey,
)
from services.contracts.clients import Grant
from services.contracts.scopes import (
    CUSTOMER,
    KEYS_ROTATE,
    OPERATIONS_READ,
    OPERATOR,
    ROLES,
    SESSIONS_REVOKE,
)
from services.contracts.topology import GATEWAY, OPERATOR_DESK, ORDER_SERVICE
from services.contracts.users import Exchange, SignOut
from services.users.sessions import Ended
from services.users.store import Account, IssuerKey, Revoked, Session
from tests.services.users.desk import NOBODY, Desk, T, access_token_of, claims
from tests.services.users.realm import Users, as_client, everywhere

LOOKS: list[Request[Any]] = [
    FindAccounts(access_token=T),
    FindSessions(access_token=T, sub=NOBODY),
    GetIssuerKeys(access_token=T),
    ReadAudit(access_token=T),
]
ACTS: dict[str, Request[Any]] = {
    "revoke_session": EndSession(access_token=T, sid=NOBODY),
    "revoke_user": EndSessions(access_token=T, name="ada"),
    "rotate_key": RotateIssuerKey(access_token=T),
    "retire_key": RetireIssuerKey(access_token=T, kid="x" * 43),
}
NEEDS: dict[str, list[Request[Any]]] = {
    OPERATIONS_READ: LOOKS,
    SESSIONS_REVOKE: [ACTS["revoke_session"], ACTS["revoke_user"]],
    KEYS_ROTATE: [ACTS["rotate_key"], ACTS["retire_key"]],
}


# ---- Who may ask


def test_every_request_of_operators_is_asked_here() -> None:
    """One more, and it is tried without its scope, or this fails."""
    requests = {
        each
        for each in vars(administration).values()
        if isinstance(each, type) and issubclass(each, Request) and "route" in vars(each)
    }

    assert {type(asked) for asked in (*LOOKS, *ACTS.values())} == requests
    assert {id(asked) for needed in NEEDS.values() for asked in needed} == {
        id(asked) for asked in (*LOOKS, *ACTS.values())
    }


@everywhere
@pytest.mark.parametrize("scope", NEEDS)
async def test_what_is_asked_without_its_scope_is_refused_though_all_others_are_there(
    desk: Desk, scope: str
) -> None:
    desk.token = await desk.signs(ROLES[OPERATOR] - {scope})

    codes = [await desk.refusal(request) for request in NEEDS[scope]]

    assert set(codes) == {"insufficient_scope"}


@pytest.mark.parametrize("scope", NEEDS)
async def test_the_scope_that_a_request_names_is_all_that_it_takes(desk: Desk, scope: str) -> None:
    desk.token = await desk.signs(frozenset({scope}))

    outcomes = await asyncio.gather(*map(desk.ask, NEEDS[scope]), return_exceptions=True)

    refused = {each.code for each in outcomes if isinstance(each, Refused)}
    assert not refused & {"insufficient_scope", "invalid_grant"}


async def _is_a_customer(desk: Desk) -> None:
    desk.token = (await desk.users.sign_in("ada", OPERATOR_DESK)).access_token


async def _role_means_less(desk: Desk) -> None:
    """As when a service of one's own declares it otherwise: no epoch rises with that."""
    async with desk.users.database.transaction() as work:
        less = update(Account).where(Account.name == "grace").values(roles=[CUSTOMER])
        await work.execute(less)


async def _signed_in_elsewhere(desk: Desk) -> None:
    desk.token = (await desk.users.sign_in("grace", GATEWAY)).access_token


async def _signed_out(desk: Desk) -> None:
    await desk.users.handlers.sign_out(SignOut(access_token=desk.token), as_client(OPERATOR_DESK))


async def _session_was_ended(desk: Desk) -> None:
    async with desk.users.act() as act:
        await desk.users.parts.sessions.end(act, desk.claims.sid or "", Ended.REVOKED)


async def _is_disabled(desk: Desk) -> None:
    await desk.users.parts.accounts.disable(desk.users.operator, "grace")


async def _role_was_taken_away(desk: Desk) -> None:
    await desk.users.parts.accounts.change_roles(desk.users.operator, "grace", [CUSTOMER])


async def _is_out_of_date(desk: Desk) -> None:
    desk.users.clock.now += 900


async def _is_a_service(desk: Desk) -> None:
    """Which the statement lets have every scope of an operator's."""
    grant = Grant(scopes=ROLES[OPERATOR])
    desk.users.with_trust(desk.users.realm.trust(operator_desk=grant))
    itself = {"subject": f"service:{OPERATOR_DESK}", "session": None, "epoch": 0}
    desk.token = await desk.signs(ROLES[OPERATOR], auth_time=None, **itself)


async def _shows_a_carnet(desk: Desk) -> None:
    access = (await desk.users.sign_in("grace")).access_token
    asked = Exchange(subject_token=access, audience=ORDER_SERVICE, scope="orders:read-all")
    desk.token = (await desk.users.handlers.exchange_token(asked, desk.users.gateway)).carnet


async def _signed_it_themselves(desk: Desk) -> None:
    stranger = Issuer("user-service", SigningKey.generate())
    desk.token = access_token_of(stranger, desk.claims, ROLES[OPERATOR], desk.users.clock())


WRONG: dict[str, tuple[Callable[[Desk], Awaitable[None]], str]] = {
    "is a customer": (_is_a_customer, "insufficient_scope"),
    "has a role that means less by now": (_role_means_less, "insufficient_scope"),
    "had their role taken away": (_role_was_taken_away, "invalid_grant"),
    "is disabled": (_is_disabled, "invalid_grant"),
    "has signed in through another client": (_signed_in_elsewhere, "invalid_grant"),
    "has signed out": (_signed_out, "invalid_grant"),
    "had their session ended": (_session_was_ended, "invalid_grant"),
    "has a token that is out of date": (_is_out_of_date, "invalid_grant"),
    "is a service": (_is_a_service, "invalid_grant"),
    "shows a carnet": (_shows_a_carnet, "invalid_grant"),
    "signed the token themselves": (_signed_it_themselves, "invalid_grant"),
}


@everywhere
@pytest.mark.parametrize("who", WRONG)
async def test_nothing_is_told_to_and_done_for_somebody_who(desk: Desk, who: str) -> None:
    spoil, code = WRONG[who]
    await spoil(desk)
    before = await _changeable(desk.users)

    codes = [await desk.refusal(request) for request in (*LOOKS, *ACTS.values())]

    assert set(codes) == {code}
    assert await _changeable(desk.users) == before


async def test_a_client_that_the_token_was_not_issued_to_gets_nothing_for_it(desk: Desk) -> None:
    asked = (*LOOKS, *ACTS.values())

    codes = [await desk.refusal(request, client=ORDER_SERVICE) for request in asked]

    assert set(codes) == {"invalid_grant"}


async def _changeable(users: Users) -> object:
    """What an operator could change."""
    async with users.database.session() as work:
        ends = [(s.sid, s.ended_at) for s in await work.scalars(select(Session))]
        accounts = [(a.sub, a.epoch) for a in await work.scalars(select(Account))]
        revoked = [r.seq for r in await work.scalars(select(Revoked))]
        keys = [(k.kid, k.signing, k.retired_at) for k in await work.scalars(select(IssuerKey))]
    return sorted(ends), sorted(accounts), sorted(revoked), sorted(keys)


@everywhere
async def test_an_act_that_is_refused_is_written_down_and_a_look_is_not(desk: Desk) -> None:
    desk.token = await desk.signs(frozenset())
    before = len(await desk.users.log())

    for request in (*LOOKS, *ACTS.values()):
        await desk.refusal(request)

    entries = (await desk.users.log())[before:]
    assert [entry["what"] for entry in entries] == list(ACTS)
    for entry in entries:
        assert (entry["outcome"], entry["why"]) == ("refused", "insufficient_scope")
        assert (entry["who"], entry["session"]) == (desk.claims.sub, desk.claims.sid)
        assert (entry["client"], entry["whom"]) == (OPERATOR_DESK, None)


async def test_a_look_that_is_granted_is_not_written_down_either(desk: Desk) -> None:
    before = await desk.users.log()
    sub = claims(desk.ada.access_token).sub

    for request in (*LOOKS, FindSessions(access_token=T, sub=sub)):
        await asyncio.gather(desk.ask(request), return_exceptions=True)

    assert await desk.users.log() == before


async def test_a_request_that_is_taken_again_does_nothing(desk: Desk) -> None:
    request = EndSessions(access_token=desk.token, name="ada")
    caller = as_client(OPERATOR_DESK, "captured-on-the-broker")
    await desk.users.administration.end_sessions(request, caller)
    await desk.users.sign_in()

    with pytest.raises(Refused) as refusal:
        await desk.users.administration.end_sessions(request, caller)

    assert refusal.value.code == "id_reused"


# ---- What may be asked at all


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (FindAccounts, {"limit": 0}),
        (FindAccounts, {"limit": 101}),
        (FindAccounts, {"search": "x" * 65}),
        (FindAccounts, {"after": "x" * 65}),
        (FindSessions, {"sub": "x" * 201}),
        (EndSession, {"sid": "x" * 37}),
        (EndSessions, {"name": "Ada'; --"}),
        (RetireIssuerKey, {"kid": "x" * 65}),
        (ReadAudit, {"limit": 101}),
        (ReadAudit, {"before": 0}),
        (ReadAudit, {"before": 2**53 + 1}),
        (ReadAudit, {"outcome": "perhaps"}),
        (ReadAudit, {"about": "x" * 256}),
        (ReadAudit, {"what": "x" * 41}),
    ],
)
def test_what_is_more_than_may_be_asked_is_no_request(
    kind: type[Request[Any]], fields: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate({"access_token": "x", **fields})
