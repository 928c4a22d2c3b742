"""Access that is ended is ended at every gateway; and where that cannot be known, nobody enters."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio

from auth.keys import SigningKey
from auth.statement import KeySetDraft
from auth.tokens import Issuer
from services.authority import Authority
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.users.acts import Asker
from tests.messaging.wire import wire_to
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PASSWORD, PATIENCE, REPORTS, Process, Stack, User
from tests.services.gateway.test_events import listening
from tests.services.gateway.test_revocation import revoked

End = Callable[[Stack, User], Awaitable[object]]
Withdraw = Callable[[KeySetDraft], object]
Forge = Callable[[Stack, User], Awaitable[tuple[str, Withdraw]]]
SILENCE = 5.0
"""Seconds after which a gateway of these tests calls the feed silent: it beats every two."""


async def sign_out(_stack: Stack, user: User) -> None:
    (await user.http.delete("/v1/sessions/current")).raise_for_status()


async def revoke(_stack: Stack, user: User) -> None:
    form = {"token": user.tokens["refresh_token"]}
    async with httpx.AsyncClient(base_url=user.http.base_url) as http:
        (await http.post("/oauth/revoke", data=form)).raise_for_status()


async def reuse_a_refresh_token(_stack: Stack, user: User) -> None:
    grant = {"grant_type": "refresh_token", "refresh_token": user.tokens["refresh_token"]}
    async with httpx.AsyncClient(base_url=user.http.base_url) as http:
        statuses = [(await http.post("/oauth/token", data=grant)).status_code for _ in range(2)]
    assert statuses == [200, 400]


async def disable_the_account(stack: Stack, user: User) -> None:
    async with stack.register() as register:
        await register.accounts.disable(Asker.operator(), user.name)


async def change_the_password(stack: Stack, user: User) -> None:
    async with stack.register() as register:
        await register.accounts.change_password(Asker.operator(), user.name, PASSWORD * 2)


async def take_the_roles(stack: Stack, user: User) -> None:
    async with stack.register() as register:
        await register.accounts.change_roles(Asker.operator(), user.name, [])


@pytest_asyncio.fixture(scope="module")
async def another(stack: Stack) -> AsyncIterator[Process]:
    """A second gateway of the same system."""
    async with stack.another_gateway(stack.amqp_url(GATEWAY)) as gateway:
        yield gateway


@pytest.mark.parametrize(
    "end",
    [
        sign_out,
        revoke,
        reuse_a_refresh_token,
        disable_the_account,
        change_the_password,
        take_the_roles,
    ],
)
async def test_access_that_is_ended_is_ended_at_every_gateway(
    stack: Stack, another: Process, ada: User, end: End
) -> None:
    async with (
        httpx.AsyncClient(
            base_url=another.url, headers=ada.http.headers, timeout=PATIENCE
        ) as elsewhere,
        listening(ada) as here,
        listening(ada, url=another.url) as there,
    ):
        assert (await elsewhere.get("/v1/orders")).status_code == 200  # with a carnet of its own
        await end(stack, ada)

        assert [await here.ended(), await there.ended()] == ["session_ended"] * 2
        for user in (ada, replace(ada, http=elsewhere)):
            assert await revoked(user)


async def test_the_end_of_one_session_leaves_the_streams_of_others(
    stack: Stack, another: Process, ada: User
) -> None:
    async with stack.user() as bob, listening(bob, url=another.url) as events:
        await sign_out(stack, ada)
        assert await revoked(ada)
        await bob.place()

        assert (await events.next()).id == 1


async def test_what_was_ended_while_the_broker_was_lost_is_known_before_anybody_enters(
    stack: Stack, ada: User
) -> None:
    async with (
        wire_to(stack.amqp_url(GATEWAY)) as wire,
        stack.another_gateway(wire.url) as other,
        httpx.AsyncClient(base_url=other.url, headers=ada.http.headers) as http,
    ):
        assert (await http.get("/v1/orders")).status_code == 200
        wire.dead = True
        wire.cut()
        await sign_out(stack, ada)
        wire.dead = False
        await other.ready()

        # In the first moment it may be the issuer that lets nobody in, and then the gateway.
        assert (await http.get("/v1/orders")).status_code == 401
        assert await revoked(replace(ada, http=http))


async def test_a_gateway_that_starts_later_knows_what_was_ended_before(
    stack: Stack, ada: User
) -> None:
    await sign_out(stack, ada)
    async with (
        stack.another_gateway(stack.amqp_url(GATEWAY)) as other,
        httpx.AsyncClient(base_url=other.url, headers=ada.http.headers) as http,
    ):
        answer = await http.get("/v1/orders")

    assert (answer.status_code, answer.json()["code"]) == (401, "revoked")


async def by_a_key_that_is_withdrawn(stack: Stack, user: User) -> tuple[str, Withdraw]:
    """The user's access token by a stolen key of the issuer's, and how the root withdraws it."""
    stolen = SigningKey.generate()
    adopt(stack, lambda draft: draft.add_issuer_key(stolen.public, "next"))
    token = Issuer(stack.key_set.issuer, stolen).access_token(
        subject=user.sub,
        audience=GATEWAY,
        client_id=GATEWAY,
        scopes=user.claims.scopes,
        session=user.claims.sid,
        epoch=user.claims.epoch,
        auth_time=None,
        now=time.time(),
    )
    return token, lambda draft: draft.withdraw_key("issuer", stolen.kid)


async def by_a_client_that_is_withdrawn(stack: Stack, user: User) -> tuple[str, Withdraw]:
    """The user's access token by way of a client, and how the root withdraws the client."""
    token = stack.issuer.access_token(
        subject=user.sub,
        audience=GATEWAY,
        client_id=REPORTS,
        scopes=user.claims.scopes,
        session=user.claims.sid,
        epoch=user.claims.epoch,
        auth_time=None,
        now=time.time(),
    )
    return token, lambda draft: draft.withdraw_client(REPORTS)


def adopt(stack: Stack, change: Withdraw) -> None:
    """Have the root sign another key set statement."""
    authority = Authority(stack.folder)
    draft = KeySetDraft.of(authority.latest())
    change(draft)
    authority.publish(draft, now=time.time())


async def answered(http: httpx.AsyncClient, status: int) -> str:
    """The code of the first answer with this status."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await http.get("/v1/orders")).status_code != status:
            pass
    return str(answer.json().get("code"))


@pytest.mark.parametrize(
    ("forge", "code"),
    [(by_a_key_that_is_withdrawn, "unknown_key"), (by_a_client_that_is_withdrawn, "revoked")],
)
async def test_what_the_root_withdraws_ends_the_streams_that_it_opened_and_no_other(
    own_stack: OpenStack, forge: Forge, code: str
) -> None:
    stack = await own_stack(heartbeat=0.2)
    async with (
        stack.user() as ada,
        # Where the order service takes its revocations anew first, the answer is 503, and late.
        httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as thief,
    ):
        token, withdraw = await forge(stack, ada)
        thief.headers["Authorization"] = f"Bearer {token}"
        await answered(thief, 200)
        async with listening(replace(ada, http=thief)) as stolen, listening(ada) as own:
            await ada.place()
            assert [(await stolen.next()).id, (await own.next()).id] == [1, 1]
            adopt(stack, withdraw)
            assert await answered(thief, 401) == code
            await ada.place()

            assert await stolen.ended() == "session_ended"
            assert (await own.next()).id == 2


async def trust_holds(http: httpx.AsyncClient) -> bool:
    checks: dict[str, bool] = (await http.get("/health/ready")).json()["checks"]
    return checks["trust"]


async def test_a_silent_feed_shuts_what_needs_a_token_and_a_heartbeat_opens_it(
    own_stack: OpenStack,
) -> None:
    stack = await own_stack(trust_max_silence=SILENCE, heartbeat=0.2)
    async with stack.operator() as ada, listening(ada) as events, asyncio.timeout(4 * PATIENCE):
        assert (await ada.place()).status_code == 202
        assert (await events.next()).id == 1
        await stack.stop(USER_SERVICE)
        while await trust_holds(ada.http):
            pass

        shut = [
            await ada.http.get("/v1/orders"),
            await ada.place(),
            await ada.http.get("/v1/orders/events"),
            await ada.http.delete("/v1/sessions/current"),
            await ada.http.post("/oauth/introspect", data={"token": "x"}),
        ]
        ready = await ada.http.get("/health/ready")
        open_to_all = [
            await ada.http.get(path)
            for path in (
                "/health/live",
                "/.well-known/jwks.json",
                "/.well-known/oauth-authorization-server",
            )
        ]
        while await events.block() != ": waiting for the trust feed":
            pass

        for answer in shut:
            assert (answer.status_code, answer.json()["code"]) == (503, "trust_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert [answer.status_code for answer in open_to_all] == [200] * 3

        await stack.start(USER_SERVICE)
        await stack.processes[GATEWAY].ready()

        assert (await ada.http.get("/v1/orders")).status_code == 200
        assert (await ada.place()).status_code == 202
        assert (await events.next()).id == 2
