"""Sessions: refresh tokens rotate, and the use of a spent one ends the session."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from auth.verifier import Verifier
from messaging.rpc import Refused
from services.contracts.users import Exchange, Refresh, SignOut, Tokens
from services.users.session_life import SessionLife
from services.users.store import RefreshToken, Session
from tests.services.users.realm import REPORTS, Users, as_client, everywhere

DAY = timedelta(days=1).total_seconds()


async def refresh(users: Users, tokens: Tokens, scope: str | None = None) -> Tokens:
    request = Refresh(refresh_token=tokens.refresh_token or "", scope=scope)
    return await users.handlers.refresh(request, users.gateway)


async def refusal_of(users: Users, tokens: Tokens, scope: str | None = None) -> str:
    with pytest.raises(Refused) as refusal:
        await refresh(users, tokens, scope)
    return refusal.value.code


async def end_of(users: Users) -> str | None:
    """Why the one session that there is has ended."""
    async with users.database.session() as work:
        return (await work.scalars(select(Session))).one().ended_why


async def test_a_sign_in_gives_a_token_for_the_gateway_alone(users: Users) -> None:
    tokens = await users.sign_in()

    verifier = Verifier(users.handlers.trust, audience="api-gateway")
    claims = verifier.access_token(tokens.access_token, now=users.clock())
    account = await users.handlers.accounts.find("ada")
    assert account is not None
    assert claims.sub == account.sub
    assert claims.client_id == "api-gateway"
    assert claims.scopes == {"orders:read", "orders:write"}
    assert claims.epoch == 1
    assert claims.sid is not None
    assert claims.auth_time == int(users.clock())
    assert claims.exp - claims.iat == tokens.expires_in == 900


async def test_a_refresh_gives_new_tokens_of_the_same_session(users: Users) -> None:
    first = await users.sign_in()
    verifier = Verifier(users.handlers.trust, audience="api-gateway")
    before = verifier.access_token(first.access_token, now=users.clock())
    users.clock.now += 60

    second = await refresh(users, first)

    after = verifier.access_token(second.access_token, now=users.clock())
    assert (after.sid, after.sub, after.auth_time) == (before.sid, before.sub, before.auth_time)
    assert after.exp == before.exp + 60
    assert second.refresh_token not in {None, first.refresh_token}


async def test_a_refresh_token_is_stored_only_as_its_hash(users: Users) -> None:
    tokens = await users.sign_in()

    async with users.database.session() as work:
        stored = (await work.scalars(select(RefreshToken.digest))).one()

    assert len(tokens.refresh_token or "") == 43
    assert stored != tokens.refresh_token
    assert len(stored) == 64


@everywhere
async def test_the_use_of_a_spent_token_ends_the_session(users: Users) -> None:
    first = await users.sign_in()
    second = await refresh(users, first)

    assert await refusal_of(users, first) == "invalid_grant"

    assert await refusal_of(users, second) == "invalid_grant"
    assert await end_of(users) == "refresh_token_reused"


@everywhere
async def test_of_two_who_use_one_token_at_once_one_is_served_and_the_session_ends(
    users: Users,
) -> None:
    tokens = await users.sign_in()

    outcomes = await asyncio.gather(
        *(refresh(users, tokens) for _ in range(8)), return_exceptions=True
    )

    served = [outcome for outcome in outcomes if isinstance(outcome, Tokens)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(served) == 1
    assert [refusal.code for refusal in refused] == ["invalid_grant"] * 7
    assert await refusal_of(users, served[0]) == "invalid_grant"
    assert await end_of(users) == "refresh_token_reused"


async def test_reuse_in_one_session_leaves_the_others(users: Users) -> None:
    stolen, other = await users.sign_in(), await users.sign_in()
    await refresh(users, stolen)
    assert await refusal_of(users, stolen) == "invalid_grant"

    assert await refresh(users, other)


@everywhere
@pytest.mark.parametrize("token", ["", "x", "A" * 43, "\ud800", "é" * 400])
async def test_a_token_that_nobody_issued_is_refused(users: Users, token: str) -> None:
    with pytest.raises(Refused) as refusal:
        await users.handlers.refresh(
            Refresh.model_construct(refresh_token=token, scope=None), users.gateway
        )

    assert refusal.value.code == "invalid_grant"


@everywhere
async def test_another_client_cannot_use_a_refresh_token_nor_spoil_it(users: Users) -> None:
    tokens = await users.sign_in()
    request = Refresh(refresh_token=tokens.refresh_token or "")

    with pytest.raises(Refused) as refusal:
        await users.handlers.refresh(request, as_client(REPORTS))

    assert refusal.value.code == "invalid_grant"
    assert await refresh(users, tokens)


async def test_a_refresh_may_narrow_the_scope_for_that_token(users: Users) -> None:
    tokens = await users.sign_in()

    narrow = await refresh(users, tokens, scope="orders:read")

    assert narrow.scope == "orders:read"
    assert (await refresh(users, narrow)).scope == "orders:read orders:write"


@pytest.mark.parametrize(
    "scope",
    ["orders:write-all", "orders:read orders:write-all", "", " ", "orders", 'orders:"', "é"],
)
async def test_a_refresh_never_widens_the_scope_and_keeps_the_token(
    users: Users, scope: str
) -> None:
    tokens = await users.sign_in()

    assert await refusal_of(users, tokens, scope) == "invalid_scope"

    assert await refresh(users, tokens)


async def test_a_session_ends_when_it_is_not_used(users: Users) -> None:
    tokens = await users.sign_in()
    users.clock.now += 7 * DAY - 1
    tokens = await refresh(users, tokens)

    users.clock.now += 7 * DAY

    assert await refusal_of(users, tokens) == "invalid_grant"


@everywhere
async def test_a_session_ends_after_its_life_however_often_it_is_used(users: Users) -> None:
    tokens = await users.sign_in()
    for _ in range(5):
        users.clock.now += 6 * DAY - 1
        tokens = await refresh(users, tokens)

    users.clock.now += 6

    assert await refusal_of(users, tokens) == "invalid_grant"


async def test_a_session_may_live_shorter_by_setting(users: Users) -> None:
    users.handlers.sessions._life = SessionLife(timedelta(hours=1), timedelta(minutes=10))
    tokens = await users.sign_in()

    users.clock.now += 600

    assert await refusal_of(users, tokens) == "invalid_grant"


@everywhere
async def test_signing_out_ends_the_session(users: Users) -> None:
    tokens = await users.sign_in()
    signed_out = await users.handlers.sign_out(
        SignOut(access_token=tokens.access_token), users.gateway
    )

    assert await refusal_of(users, tokens) == "invalid_grant"
    exchange = Exchange(
        subject_token=tokens.access_token, audience="order-service", scope="orders:read"
    )
    with pytest.raises(Refused) as refusal:
        await users.handlers.exchange_token(exchange, users.gateway)
    assert refusal.value.code == "invalid_grant"
    async with users.database.session() as work:
        session = (await work.scalars(select(Session))).one()
    assert session.sid == signed_out.sid
    assert session.ended_at == int(users.clock())
    assert session.ended_why == "signed_out"


async def test_signing_out_twice_keeps_the_first_reason(users: Users) -> None:
    first = await users.sign_in()
    await refresh(users, first)
    await refusal_of(users, first)

    await users.handlers.sign_out(SignOut(access_token=first.access_token), users.gateway)

    assert await end_of(users) == "refresh_token_reused"


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
async def test_what_is_no_access_token_signs_nobody_out(users: Users, token: str) -> None:
    with pytest.raises(Refused) as refusal:
        await users.handlers.sign_out(SignOut(access_token=token), users.gateway)

    assert refusal.value.code == "invalid_grant"


@everywhere
async def test_sessions_past_their_life_are_forgotten_with_their_tokens(users: Users) -> None:
    await refresh(users, await users.sign_in())
    users.clock.now += 30 * DAY + 1
    await users.sign_in()

    await users.handlers.sessions.prune()

    async with users.database.session() as work:
        assert len((await work.scalars(select(Session))).all()) == 1
        assert len((await work.scalars(select(RefreshToken))).all()) == 1
