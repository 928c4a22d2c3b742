"""Introspection and revocation of tokens: RFC 7662 and RFC 7009, as far as each may ask."""

from dataclasses import replace
from typing import Any

import pytest

from auth.assertion import sign_assertion
from auth.jws import parse_claims, sign_token
from auth.keys import SigningKey
from auth.strict import parse_token
from auth.tokens import AccessClaims, Actor, CarnetClaims
from messaging.rpc import Refused
from services.contracts.clients import Grant
from services.contracts.users import (
    ClientCredentials,
    Exchange,
    Introspect,
    Introspection,
    Refresh,
    RevokeToken,
    SignOut,
)
from tests.services.users.realm import REPORTS, Users, as_client, everywhere

INACTIVE = Introspection(active=False)
ORDERS, GATEWAY = "order-service", "api-gateway"


def assertion(users: Users, client: str = REPORTS, **changed: Any) -> str:
    named = {"audience": "user-service", **changed}
    return sign_assertion(client, users.realm.seals[client], now=users.clock(), **named)


async def introspect(users: Users, token: str, client: str = GATEWAY, **more: Any) -> Introspection:
    return await users.handlers.introspect(Introspect(token=token, **more), as_client(client))


async def revoke(users: Users, token: str, client: str = GATEWAY, **more: Any) -> None:
    await users.handlers.revoke_token(RevokeToken(token=token, **more), as_client(client))


async def access_token(users: Users) -> str:
    return (await users.sign_in()).access_token


async def refresh_token(users: Users) -> str:
    return (await users.sign_in()).refresh_token or ""


async def carnet(users: Users) -> str:
    request = Exchange(
        subject_token=await access_token(users), audience=ORDERS, scope="orders:read"
    )
    return (await users.handlers.exchange_token(request, users.gateway)).carnet


async def service_token(users: Users) -> str:
    request = ClientCredentials(client_assertion=assertion(users))
    return (await users.handlers.client_credentials(request, users.gateway)).access_token


KINDS = {
    "access token": access_token,
    "refresh token": refresh_token,
    "carnet": carnet,
    "service token": service_token,
}


async def ends_with_its_session(users: Users, token: str, how: str) -> None:
    match how:
        case "signed out":
            access = await access_token(users)
            await users.handlers.sign_out(SignOut(access_token=access), users.gateway)
        case "revoked":
            await revoke(users, token, client_assertion=assertion(users, GATEWAY))
        case "disabled":
            await users.handlers.accounts.disable(users.operator, "ada")
        case "other roles":
            await users.handlers.accounts.change_roles(users.operator, "ada", ["operator"])
        case _:
            users.clock.now += 30 * 24 * 3600


async def test_an_access_token_is_described_as_it_is(users: Users) -> None:
    token = await access_token(users)
    claims = parse_claims(parse_token(token), AccessClaims)

    answer = await introspect(users, token)

    assert answer.active
    assert answer.token_type == "Bearer"
    for member in ("scope", "client_id", "exp", "iat", "sub", "aud", "iss", "jti", "sid"):
        assert getattr(answer, member) == getattr(claims, member), member
    assert answer.act is None


async def test_a_carnet_is_described_with_who_acts_by_it(users: Users) -> None:
    answer = await introspect(users, await carnet(users))

    assert (answer.aud, answer.scope, answer.token_type) == (ORDERS, "orders:read", None)
    assert answer.act is not None
    assert answer.act.chain == (GATEWAY,)


async def test_a_refresh_token_is_described_by_what_it_continues(users: Users) -> None:
    answer = await introspect(users, await refresh_token(users))

    assert (answer.client_id, answer.scope) == (GATEWAY, "orders:read orders:write")
    assert answer.exp == int(users.clock()) + 7 * 24 * 3600
    assert (answer.jti, answer.token_type) == (None, None)


async def test_a_services_token_is_described_in_its_own_name(users: Users) -> None:
    answer = await introspect(users, await service_token(users))

    assert (answer.sub, answer.sid, answer.active) == ("service:reports", None, True)


MAY_KNOW = {
    "access token": {GATEWAY},
    "refresh token": {GATEWAY},
    "carnet": {GATEWAY, ORDERS},
    "service token": {GATEWAY, REPORTS},
}


@pytest.mark.parametrize("client", [GATEWAY, ORDERS, REPORTS, "user-service", "nobody"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_is_told_of_what_it_receives_or_was_given(
    users: Users, kind: str, client: str
) -> None:
    """RFC 7662 §4: of other tokens it is told nothing, not even that there are such."""
    token = await KINDS[kind](users)

    answer = await introspect(users, token, client)

    assert answer.active == (client in MAY_KNOW[kind])
    if not answer.active:
        assert answer == INACTIVE


@pytest.mark.parametrize("client", [REPORTS, ORDERS])
async def test_a_client_that_asks_through_the_gateway_is_told_what_it_may_know(
    users: Users, client: str
) -> None:
    token = await service_token(users)

    answer = await introspect(users, token, client_assertion=assertion(users, client))

    assert answer.active == (client in MAY_KNOW["service token"])


async def test_an_assertion_may_be_made_out_to_an_address_that_the_gateway_names(
    users: Users,
) -> None:
    address = "https://carnet.example/oauth/introspect"
    token = await service_token(users)

    answer = await introspect(
        users,
        token,
        client_assertion=assertion(users, audience=address),
        audiences=(address,),
    )

    assert answer.active


async def test_an_assertion_introspects_once(users: Users) -> None:
    token, used = await service_token(users), assertion(users)
    await introspect(users, token, client_assertion=used)

    with pytest.raises(Refused) as refusal:
        await introspect(users, token, client_assertion=used)

    assert refusal.value.code == "invalid_client"


@everywhere
@pytest.mark.parametrize("kind", ["access token", "refresh token", "carnet"])
@pytest.mark.parametrize("how", ["revoked", "disabled", "other roles", "too old"])
async def test_what_has_ended_is_not_active(users: Users, kind: str, how: str) -> None:
    token = await KINDS[kind](users)
    assert (await introspect(users, token)).active

    await ends_with_its_session(users, token, how)

    assert await introspect(users, token) == INACTIVE


async def test_a_spent_refresh_token_is_not_active_and_looking_at_it_is_no_use(
    users: Users,
) -> None:
    spent = await refresh_token(users)
    following = await users.handlers.refresh(Refresh(refresh_token=spent), users.gateway)

    assert await introspect(users, spent) == INACTIVE
    assert (await introspect(users, following.refresh_token or "")).active


async def test_the_token_of_a_withdrawn_client_is_not_active(users: Users) -> None:
    token = await service_token(users)
    del users.realm.clients[REPORTS]

    users.with_trust(users.realm.trust())

    assert await introspect(users, token) == INACTIVE


def _by_another_key(token: str) -> str:
    claims = parse_claims(parse_token(token), AccessClaims)
    return sign_token(claims, typ="at+jwt", key=SigningKey.generate())


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "e30.e30.e30", "x" * 8000, "\x00", "é", "A" * 43]
)
@everywhere
async def test_what_is_no_token_is_not_active_and_revokes_nothing(users: Users, token: str) -> None:
    assert await introspect(users, token) == INACTIVE

    await revoke(users, token)  # RFC 7009 §2.2: "invalid tokens do not cause an error response"


async def test_a_forged_token_is_not_active_and_ends_nothing(users: Users) -> None:
    genuine = await access_token(users)
    forged = _by_another_key(genuine)

    assert await introspect(users, forged) == INACTIVE
    await revoke(users, forged)

    assert (await introspect(users, genuine)).active


@everywhere
@pytest.mark.parametrize("kind", ["access token", "refresh token"])
@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
async def test_a_token_of_a_session_ends_it_whatever_the_hint(
    users: Users, kind: str, hint: str | None
) -> None:
    token = await KINDS[kind](users)
    other = await access_token(users)

    await revoke(users, token, hint=hint)

    assert await introspect(users, token) == INACTIVE
    assert (await introspect(users, other)).active
    assert (await users.log())[-1]["what"] == "revoke_token"


async def test_a_spent_refresh_token_still_ends_its_session(users: Users) -> None:
    spent = await refresh_token(users)
    following = await users.handlers.refresh(Refresh(refresh_token=spent), users.gateway)

    await revoke(users, spent)

    assert await introspect(users, following.access_token) == INACTIVE


async def test_a_carnet_ends_its_session_for_the_client_that_acts_by_it(users: Users) -> None:
    token = await carnet(users)

    await revoke(users, token, client_assertion=assertion(users, GATEWAY))

    assert await introspect(users, token) == INACTIVE


@pytest.mark.parametrize("client", [GATEWAY, ORDERS, REPORTS])
async def test_a_carnet_that_nobody_proves_to_act_by_ends_nothing(
    users: Users, client: str
) -> None:
    """It lies on the broker: RFC 7009 §2.2 has it answered as a token that is not known."""
    token = await carnet(users)

    await revoke(users, token, client)

    assert (await introspect(users, token)).active
    assert (await users.log())[-1]["why"] == "unproven_carnet"


async def test_who_acts_by_a_carnet_of_a_further_hop_ends_its_session(users: Users) -> None:
    """Not who acted before: only the outer `act` may seal with it (RFC 8693 §4.1)."""
    first = parse_claims(parse_token(await carnet(users)), CarnetClaims)
    further = replace(first, aud="user-service", act=Actor(sub=ORDERS, act=first.act))
    token = sign_token(further, typ="carnet+jwt", key=users.realm.issuer_key)

    with pytest.raises(Refused) as refusal:
        await revoke(users, token, client_assertion=assertion(users, GATEWAY))
    assert refusal.value.code == "unauthorized_client"

    await revoke(users, token, client_assertion=assertion(users, ORDERS))
    assert await introspect(users, token) == INACTIVE


@pytest.mark.parametrize("kind", ["access token", "refresh token", "carnet"])
@pytest.mark.parametrize("client", [ORDERS, REPORTS])
async def test_another_client_cannot_revoke_a_token(users: Users, kind: str, client: str) -> None:
    token = await KINDS[kind](users)

    proofs: list[dict[str, Any]] = [{"client_assertion": assertion(users, client)}]
    if kind != "carnet":
        proofs.append({"client": client})
    for proof in proofs:
        with pytest.raises(Refused) as refusal:
            await revoke(users, token, **proof)
        assert refusal.value.code == "unauthorized_client"

    assert (await introspect(users, token)).active


async def test_a_token_without_a_session_cannot_be_revoked(users: Users) -> None:
    with pytest.raises(Refused) as refusal:
        await revoke(users, await service_token(users))

    assert refusal.value.code == "unsupported_token_type"


async def test_a_client_must_prove_who_it_is_to_revoke_in_its_name(users: Users) -> None:
    token = await access_token(users)

    with pytest.raises(Refused) as refusal:
        await revoke(users, token, client_assertion="x")

    assert refusal.value.code == "invalid_client"
    assert (await introspect(users, token)).active


async def test_of_another_grant_nothing_changes(users: Users) -> None:
    """That a client may exchange gives it no look at others' tokens."""
    token = await access_token(users)
    users.with_trust(users.realm.trust(reports=Grant(exchanges=frozenset({ORDERS}))))

    assert await introspect(users, token, REPORTS) == INACTIVE


async def test_neither_introspection_nor_revocation_takes_anothers_assertion(
    users: Users,
) -> None:
    token = await carnet(users)

    for ask in (introspect, revoke):
        with pytest.raises(Refused) as refusal:
            await ask(users, token, REPORTS, client_assertion=assertion(users, ORDERS))
        assert refusal.value.code == "invalid_client"

    assert (await introspect(users, token)).active
