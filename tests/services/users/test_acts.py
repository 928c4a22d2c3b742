"""Acts: what is asked of the issuer is done once, whichever replica it comes to."""

import asyncio

import pytest

from messaging.rpc import Refused
from services.contracts.users import Refresh, Register
from tests.services.users.realm import PASSWORD, REPORTS, Users, as_client, everywhere


@everywhere
async def test_a_request_is_taken_once_whichever_replica_it_comes_to(users: Users) -> None:
    """And the second time, before it could do any harm: a refresh token is not used again."""
    tokens = await users.sign_in()
    request = Refresh(refresh_token=tokens.refresh_token or "")
    caller = as_client("api-gateway", "captured-on-its-way")
    served = await users.handlers.refresh(request, caller)

    with pytest.raises(Refused) as refusal:
        await users.handlers.refresh(request, caller)

    assert refusal.value.code == "id_reused"
    again = Refresh(refresh_token=served.refresh_token or "")
    assert await users.handlers.refresh(again, users.gateway)
    assert (await users.log())[-2]["why"] == "id_reused"


@everywhere
async def test_of_a_request_that_comes_to_many_at_once_one_is_answered(users: Users) -> None:
    caller = as_client("api-gateway", "captured-on-its-way")
    request = Register(name="grace", password=PASSWORD)

    outcomes = await asyncio.gather(
        *(users.handlers.register(request, caller) for _ in range(8)), return_exceptions=True
    )

    refused = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    assert refused == ["id_reused"] * 7


async def test_two_clients_may_use_one_request_id(users: Users) -> None:
    for client in ("api-gateway", REPORTS):
        with pytest.raises(Refused) as refusal:
            await users.handlers.refresh(Refresh(refresh_token="x"), as_client(client, "one-id"))
        assert refusal.value.code == "invalid_grant"


async def test_ids_of_requests_are_forgotten_once_nobody_would_take_them(users: Users) -> None:
    caller = as_client("api-gateway", "captured-on-its-way")
    with pytest.raises(Refused):
        await users.handlers.refresh(Refresh(refresh_token="x"), caller)

    users.clock.now += 299
    await users.parts.acts.prune()
    with pytest.raises(Refused) as refusal:
        await users.handlers.refresh(Refresh(refresh_token="x"), caller)
    assert refusal.value.code == "id_reused"

    users.clock.now += 10
    await users.parts.acts.prune()
    with pytest.raises(Refused) as refusal:
        await users.handlers.refresh(Refresh(refresh_token="x"), caller)
    assert refusal.value.code == "invalid_grant"
