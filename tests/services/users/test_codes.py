"""Codes and devices at the user service: how long they count, and what is left of them."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select

from auth.jws import parse_claims
from auth.strict import encode_base64url, parse_token
from auth.tokens import AccessClaims
from messaging.rpc import Refused
from services.contracts.authorization import (
    AllowDevice,
    Authorize,
    DenyDevice,
    DescribeDevice,
    DeviceStarted,
    RedeemCode,
    RedeemDevice,
    StartDevice,
)
from services.contracts.users import Introspect, Tokens
from services.users.attempts import FREE_GUESSES, LONGEST_WAIT_TO_GUESS
from services.users.clients import COMMAND_LINE
from services.users.codes import CODE_LIFE, FORGOTTEN
from services.users.devices import LETTERS
from services.users.store import AuthorizationCode, DeviceCode, Revoked, Session
from tests.services.users.realm import PASSWORD, Users, everywhere

NOTES = "app:notes"
CALLBACK = "https://notes.example/callback"
VERIFIER = "a-verifier-of-at-least-forty-three-characters"
CHALLENGE = encode_base64url(hashlib.sha256(VERIFIER.encode()).digest())


async def add_notes(users: Users) -> None:
    await users.parts.clients.add(
        users.operator,
        "notes",
        title="Notes",
        redirect_uris=[CALLBACK],
        scopes=["orders:read"],
        devices=False,
    )


async def code_of(users: Users, **changed: Any) -> str:
    asked = {
        "client_id": NOTES,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "name": "ada",
        "password": PASSWORD,
        **changed,
    }
    return (await users.handlers.authorize(Authorize(**asked), users.gateway)).code


async def redeem(users: Users, code: str, **changed: Any) -> Tokens:
    asked = {
        "client_id": NOTES,
        "redirect_uri": CALLBACK,
        "code": code,
        "code_verifier": VERIFIER,
        **changed,
    }
    return await users.handlers.redeem_code(RedeemCode(**asked), users.gateway)


async def refusal_of(users: Users, code: str, **changed: Any) -> str:
    with pytest.raises(Refused) as refusal:
        await redeem(users, code, **changed)
    return refusal.value.code


async def sessions(users: Users) -> Sequence[Session]:
    async with users.database.session() as work:
        return (await work.scalars(select(Session))).all()


@everywhere
async def test_of_many_who_trade_one_code_at_once_one_is_served_and_its_session_ends(
    users: Users,
) -> None:
    await add_notes(users)
    code = await code_of(users)

    outcomes = await asyncio.gather(
        *(redeem(users, code) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(outcome, Tokens) for outcome in outcomes) == 1
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    assert refused == ["invalid_grant"] * 4
    assert [session.ended_why for session in await sessions(users)] == ["code_reused"]


@pytest.mark.parametrize("after", [0, 59])
async def test_a_code_counts_for_a_minute(users: Users, after: int) -> None:
    await add_notes(users)
    code = await code_of(users)
    signed_in = int(users.clock())
    users.clock.now += after

    tokens = await redeem(users, code)

    claims = parse_claims(parse_token(tokens.access_token), AccessClaims)
    assert claims.auth_time == signed_in


async def test_a_code_counts_for_no_longer(users: Users) -> None:
    await add_notes(users)
    code = await code_of(users)
    users.clock.now += 60

    assert await refusal_of(users, code) == "invalid_grant"
    assert await sessions(users) == []


@everywhere
@pytest.mark.parametrize(
    "changed",
    [{"code_verifier": "another" * 7}, {"redirect_uri": None}, {"redirect_uri": CALLBACK + "/"}],
    ids=str,
)
async def test_a_code_where_it_does_not_belong_is_good_for_nothing_more(
    users: Users, changed: dict[str, Any]
) -> None:
    """Its session goes with it: nobody has had a token of it."""
    await add_notes(users)
    code = await code_of(users)

    assert await refusal_of(users, code, **changed) == "invalid_grant"

    assert await refusal_of(users, code) == "invalid_grant"
    assert await sessions(users) == []


async def test_another_client_cannot_use_up_a_code(users: Users) -> None:
    await add_notes(users)
    code = await code_of(users)

    assert await refusal_of(users, code, client_id=COMMAND_LINE) == "invalid_grant"
    assert await refusal_of(users, code, client_id="app:nobody") == "invalid_client"

    assert await redeem(users, code)


async def test_a_code_of_an_account_that_has_changed_meanwhile_opens_nothing(
    users: Users,
) -> None:
    await add_notes(users)
    code = await code_of(users)
    await users.parts.accounts.disable(users.operator, "ada")

    assert await refusal_of(users, code) == "invalid_grant"


async def test_neither_codes_nor_verifiers_are_stored_or_logged(users: Users) -> None:
    await add_notes(users)
    code = await code_of(users)
    await redeem(users, code)

    async with users.database.session() as work:
        row = (await work.scalars(select(AuthorizationCode))).one()
    stored = {column.name: getattr(row, column.name) for column in row.__table__.columns}
    for secret in (code, VERIFIER, PASSWORD):
        assert secret not in str(stored)
        assert secret not in str(await users.log())


@everywhere
async def test_what_nobody_came_for_is_forgotten(users: Users) -> None:
    await add_notes(users)
    used = await code_of(users)
    await redeem(users, used)
    await code_of(users)
    started = await start(users)
    await allow(users, started)
    users.clock.now += 1300

    await users.handlers.codes.prune()
    await users.handlers.devices.prune()

    assert len(await sessions(users)) == 1
    async with users.database.session() as work:
        assert len((await work.scalars(select(AuthorizationCode))).all()) == 1
        assert (await work.scalars(select(DeviceCode))).all() == []
        assert (await work.scalars(select(Revoked))).all() == []
    assert await refusal_of(users, used) == "invalid_grant"
    assert [session.ended_why for session in await sessions(users)] == ["code_reused"]


async def test_a_code_is_kept_until_no_replica_would_take_it(users: Users) -> None:
    """One whose clock is ahead forgets nothing that another one still trades."""
    await add_notes(users)
    await code_of(users)
    users.clock.now += CODE_LIFE + FORGOTTEN
    await users.handlers.codes.prune()
    assert len(await sessions(users)) == 1
    users.clock.now += 2
    await users.handlers.codes.prune()

    assert await sessions(users) == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"password": "wrong"}, "invalid_credentials"),
        ({"name": "nobody"}, "invalid_credentials"),
        ({"client_id": "app:nobody"}, "unknown_client"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_redirect_uri"),
        ({"scope": "orders:write"}, "invalid_scope"),
    ],
    ids=str,
)
async def test_the_issuer_checks_for_itself_what_the_gateway_asks(
    users: Users, changed: dict[str, Any], code: str
) -> None:
    await add_notes(users)

    with pytest.raises(Refused) as refusal:
        await code_of(users, **changed)

    assert refusal.value.code == code
    assert await sessions(users) == []


async def test_the_gateway_knows_of_public_clients_refresh_tokens(users: Users) -> None:
    """Who may introspect every token may these."""
    await add_notes(users)
    tokens = await redeem(users, await code_of(users))

    known = await users.handlers.introspect(
        Introspect(token=tokens.refresh_token or ""), users.gateway
    )

    assert (known.active, known.client_id, known.scope) == (True, NOTES, "orders:read")


# ---- devices


async def start(users: Users, **changed: Any) -> DeviceStarted:
    asked = {"client_id": COMMAND_LINE, "scope": "orders:read", **changed}
    return await users.handlers.start_device(StartDevice(**asked), users.gateway)


async def allow(users: Users, started: DeviceStarted, **changed: Any) -> None:
    asked = {"user_code": started.user_code, "name": "ada", "password": PASSWORD, **changed}
    await users.handlers.allow_device(AllowDevice(**asked), users.gateway)


async def poll(users: Users, started: DeviceStarted) -> str:
    """The error, or nothing."""
    asked = RedeemDevice(client_id=COMMAND_LINE, device_code=started.device_code)
    try:
        await users.handlers.redeem_device(asked, users.gateway)
    except Refused as refused:
        return refused.code
    return ""


@everywhere
async def test_a_device_that_asks_too_fast_has_to_be_slower_from_then_on(users: Users) -> None:
    """RFC 8628 §3.5: by five seconds, "for this and all subsequent requests"."""
    started = await start(users)
    heard = []
    for wait in (0, 5, 2, 5, 15, 15):
        users.clock.now += wait
        heard.append(await poll(users, started))

    assert heard == [
        "authorization_pending",
        "authorization_pending",
        "slow_down",  # ten from now on
        "slow_down",  # fifteen
        "authorization_pending",
        "authorization_pending",
    ]


async def test_what_a_device_asks_in_vain_is_not_written_down(users: Users) -> None:
    """Anybody may ask for ever, and the log only grows."""
    before = len(await users.log())
    started = await start(users)
    await poll(users, started)
    with pytest.raises(Refused):
        await users.handlers.describe_device(
            DescribeDevice(user_code="BBBBBBBB", origin="192.0.2.1"), users.gateway
        )

    assert len(await users.log()) == before


@everywhere
async def test_a_wrong_user_code_that_is_denied_counts_as_a_guess_and_is_not_written_down(
    users: Users,
) -> None:
    started = await start(users)
    before = len(await users.log())
    for _ in range(FREE_GUESSES):
        wrong = DenyDevice(user_code="BBBBBBBB", origin="192.0.2.7")
        with pytest.raises(Refused):
            await users.handlers.deny_device(wrong, users.gateway)

    assert len(await users.log()) == before
    assert await described(users, started.user_code) == "unknown_user_code"
    denied = DenyDevice(user_code=started.user_code, origin="192.0.2.8")
    await users.handlers.deny_device(denied, users.gateway)
    assert (await users.log())[-1]["what"] == "deny_device"


async def test_what_is_no_code_or_no_longer_one_is_not_written_down(users: Users) -> None:
    await add_notes(users)
    code = await code_of(users)
    before = len(await users.log())

    assert await refusal_of(users, "made up") == "invalid_grant"
    assert await refusal_of(users, code, client_id=COMMAND_LINE) == "invalid_grant"
    assert await refusal_of(users, code, client_id="app:nobody") == "invalid_client"
    assert len(await users.log()) == before
    await redeem(users, code)
    for _ in range(3):
        assert await refusal_of(users, code) == "invalid_grant"

    log = [(entry["outcome"], entry["why"]) for entry in (await users.log())[before:]]
    assert log == [("done", None), ("refused", "invalid_grant: code_reused")]


@everywhere
async def test_of_many_who_trade_one_device_code_at_once_one_is_served(users: Users) -> None:
    started = await start(users)
    await allow(users, started)

    heard = await asyncio.gather(*(poll(users, started) for _ in range(5)))

    assert sorted(heard) == [""] + ["invalid_grant"] * 4
    assert [session.ended_why for session in await sessions(users)] == ["code_reused"]


async def test_a_device_waits_for_ten_minutes(users: Users) -> None:
    started = await start(users)
    users.clock.now += 599
    assert await poll(users, started) == "authorization_pending"
    users.clock.now += 1

    assert await poll(users, started) == "expired_token"
    with pytest.raises(Refused) as refusal:
        await allow(users, started)
    assert refusal.value.code == "unknown_user_code"


async def test_a_user_decides_once(users: Users) -> None:
    started = await start(users)
    await allow(users, started)

    for again in (
        allow(users, started),
        users.handlers.deny_device(DenyDevice(user_code=started.user_code), users.gateway),
    ):
        with pytest.raises(Refused) as refusal:
            await again
        assert refusal.value.code == "unknown_user_code"
    assert await poll(users, started) == ""


@everywhere
async def test_of_many_guesses_at_once_no_more_are_looked_at_than_one_by_one(
    users: Users,
) -> None:
    started = await start(users)

    await asyncio.gather(*(described(users, f"BBBBBBB{letter}") for letter in LETTERS))

    assert await described(users, started.user_code) == "unknown_user_code"
    assert await described(users, started.user_code, "192.0.2.8") == ""


async def test_who_types_wrong_user_codes_for_ever_keeps_nobody_out_for_more_than_a_minute(
    users: Users,
) -> None:
    """It is one place for all behind one address, and 1440 guesses a day find no code."""
    for _ in range(FREE_GUESSES + 12):
        users.clock.now += LONGEST_WAIT_TO_GUESS
        assert await described(users, "BBBBBBBB") == "unknown_user_code"
    started = await start(users)

    users.clock.now += LONGEST_WAIT_TO_GUESS - 1
    assert await described(users, started.user_code) == "unknown_user_code"
    users.clock.now += 2

    assert await described(users, started.user_code) == ""


async def test_twenty_wrong_user_codes_are_free_but_for_the_last(users: Users) -> None:
    started = await start(users)
    for _ in range(FREE_GUESSES - 1):
        await described(users, "BBBBBBBB")

    assert await described(users, started.user_code) == ""


async def described(users: Users, code: str, origin: str = "192.0.2.7") -> str:
    """The error, or nothing."""
    try:
        await users.handlers.describe_device(
            DescribeDevice(user_code=code, origin=origin), users.gateway
        )
    except Refused as refused:
        return refused.code
    return ""


async def test_user_codes_have_no_vowels_and_no_two_are_alike(users: Users) -> None:
    codes = {(await start(users)).user_code for _ in range(50)}

    assert len(codes) == 50
    assert set("".join(codes)) <= set("BCDFGHJKLMNPQRSTVWXZ-")
