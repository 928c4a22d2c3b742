"""The user service as others meet it: sealed, encrypted requests over the broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from sqlalchemy import select
from structlog.testing import capture_logs

from auth.assertion import sign_assertion
from auth.encryption import DecryptionKey
from auth.errors import RevokedTokenError
from auth.feed import Feed
from auth.jws import parse_claims
from auth.keyset import TrustRoot
from auth.strict import parse_token
from auth.tokens import CarnetClaims
from auth.verifier import Verifier
from messaging.contract import Request
from messaging.database import open_database
from messaging.rpc import RpcRefusedError, RpcTimeoutError
from messaging.topology import REPLY, RPC
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
from services.contracts.topology import GATEWAY, OPERATOR_DESK, ORDER_SERVICE, USERS_RPC
from services.contracts.users import (
    ClientCredentials,
    Exchange,
    GetKeySet,
    GetRevocations,
    Introspect,
    Refresh,
    Register,
    RevokeToken,
    SignIn,
    SignOut,
    Tokens,
)
from services.users.store import Session
from tests.databases import Postgres
from tests.engine import UnavailableError
from tests.messaging.raw import until
from tests.services.users.realm import PASSWORD, REPORTS
from tests.services.users.running import Client, Running, opened, prepare, running, serving


@pytest_asyncio.fixture
async def service(amqp_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, amqp_url) as service:
        yield service


@pytest_asyncio.fixture
async def gateway(service: Running) -> Client:
    """The gateway's end of the wire; `ada` is registered."""
    client = await service.client()
    await client.ask(Register(name="ada", password=PASSWORD))
    return client


async def sign_in(gateway: Client) -> Tokens:
    return await gateway.ask(SignIn(name="ada", password=PASSWORD))


async def test_a_user_registers_signs_in_gets_a_carnet_goes_on_and_signs_out(
    service: Running, gateway: Client
) -> None:
    registered = await gateway.ask(Register(name="grace", password=PASSWORD))
    tokens = await gateway.ask(SignIn(name="grace", password=PASSWORD))
    access = Verifier(service.trust, audience="api-gateway").access_token(
        tokens.access_token, now=time.time()
    )
    assert registered.roles == ("customer",)
    assert access.sub == registered.sub

    exchanged = await gateway.ask(
        Exchange(subject_token=tokens.access_token, audience="order-service", scope="orders:write")
    )
    carnet = parse_claims(parse_token(exchanged.carnet), CarnetClaims)
    assert (carnet.sub, carnet.aud) == (registered.sub, "order-service")
    assert carnet.actors == ("api-gateway",)

    refreshed = await gateway.ask(Refresh(refresh_token=tokens.refresh_token or ""))
    signed_out = await gateway.ask(SignOut(access_token=refreshed.access_token))
    assert signed_out.sid == access.sid
    with pytest.raises(RpcRefusedError) as refusal:
        await gateway.ask(Refresh(refresh_token=refreshed.refresh_token or ""))
    assert refusal.value.code == "invalid_grant"


async def test_a_service_gets_a_token_for_its_assertion(service: Running, gateway: Client) -> None:
    assertion = sign_assertion(
        REPORTS, service.seal_key(REPORTS), audience="user-service", now=time.time()
    )

    tokens = await gateway.ask(ClientCredentials(client_assertion=assertion))

    access = Verifier(service.trust, audience="api-gateway").access_token(
        tokens.access_token, now=time.time()
    )
    assert access.sub == "service:reports"
    with pytest.raises(RpcRefusedError) as refusal:
        await gateway.ask(ClientCredentials(client_assertion=assertion))
    assert refusal.value.code == "invalid_client"


async def test_the_key_set_is_handed_on_as_the_root_signed_it(
    service: Running, gateway: Client
) -> None:
    statement = (await gateway.ask(GetKeySet())).statement

    root = TrustRoot.from_json((service.state / "trust-root.json").read_bytes())
    assert root.verify(statement, now=time.time()).version == service.trust.key_set.version


REFUSALS: list[tuple[Request[Any], str]] = [
    (Register(name="ada", password=PASSWORD), "name_taken"),
    (SignIn(name="ada", password="wrong password"), "invalid_credentials"),
    (SignIn(name="nobody", password=PASSWORD), "invalid_credentials"),
    (Refresh(refresh_token="x"), "invalid_grant"),
    (ClientCredentials(client_assertion="x"), "invalid_client"),
    (Exchange(subject_token="x", audience="order-service", scope="orders:read"), "invalid_grant"),
    (Exchange(subject_token="x", audience="user-service", scope="orders:read"), "invalid_target"),
    (SignOut(access_token="x"), "invalid_grant"),
    (RevokeToken(token="x", client_assertion="x"), "invalid_client"),
    (Introspect(token="x", client_assertion="x"), "invalid_client"),
    (GetRevocations.model_construct(after=-1), "invalid_body"),
    (SignIn.model_construct(name="ada", password="x" * 200_000), "invalid_body"),
    (Register.model_construct(name="Ada Lovelace", password=PASSWORD), "invalid_body"),
    (Register.model_construct(name="grace", password="too short"), "invalid_body"),
]


async def test_each_refusal_comes_with_its_code(gateway: Client) -> None:
    for request, code in REFUSALS:
        with pytest.raises(RpcRefusedError) as refusal:
            await gateway.ask(request)
        assert refusal.value.code == code, request.route.type
        assert PASSWORD not in refusal.value.detail

    tokens = await sign_in(gateway)
    exchange = Exchange(
        subject_token=tokens.access_token, audience="order-service", scope="orders:read-all"
    )
    with pytest.raises(RpcRefusedError) as refusal:
        await gateway.ask(exchange)
    assert refusal.value.code == "invalid_scope"


async def test_a_password_of_a_megabyte_is_refused(gateway: Client) -> None:
    with pytest.raises(RpcRefusedError) as refusal:
        await gateway.ask(SignIn.model_construct(name="ada", password="x" * 2**20))

    assert refusal.value.code == "malformed_token"  # more than is even opened
    assert await sign_in(gateway)


async def test_of_two_who_refresh_at_once_one_is_served(gateway: Client) -> None:
    token = (await sign_in(gateway)).refresh_token or ""

    outcomes = await asyncio.gather(
        *(gateway.ask(Refresh(refresh_token=token)) for _ in range(4)), return_exceptions=True
    )

    assert sum(isinstance(outcome, Tokens) for outcome in outcomes) == 1
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, RpcRefusedError)]
    assert refused == ["invalid_grant"] * 3


OPERATORS_ALONE: list[Request[Any]] = [
    FindAccounts(access_token="x"),
    FindSessions(access_token="x", sub="x"),
    EndSession(access_token="x", sid="x"),
    EndSessions(access_token="x", name="ada"),
    GetIssuerKeys(access_token="x"),
    RotateIssuerKey(access_token="x"),
    RetireIssuerKey(access_token="x", kid="x"),
    ReadAudit(access_token="x"),
]


MAY_NOT: list[tuple[str, Request[Any]]] = [
    (REPORTS, SignIn(name="ada", password=PASSWORD)),
    (REPORTS, GetKeySet()),
    (REPORTS, GetRevocations()),
    (REPORTS, Introspect(token="x")),
    (REPORTS, RevokeToken(token="x")),
    (ORDER_SERVICE, SignIn(name="ada", password=PASSWORD)),
    (ORDER_SERVICE, Introspect(token="x")),
    (ORDER_SERVICE, RevokeToken(token="x")),
    *((ORDER_SERVICE, request) for request in OPERATORS_ALONE),
    *((GATEWAY, request) for request in OPERATORS_ALONE),
]


async def test_a_client_that_may_not_ask_gets_no_answer(service: Running, gateway: Client) -> None:
    """Its seal is genuine; the statement does not give it the type to publish."""
    clients = {name: await service.client(name) for name in (REPORTS, ORDER_SERVICE, GATEWAY)}

    outcomes = await asyncio.gather(
        *(clients[name].ask(request, deadline=3) for name, request in MAY_NOT),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [RpcTimeoutError] * len(MAY_NOT)
    assert await sign_in(gateway)


@pytest.mark.parametrize("client_id", [GATEWAY, ORDER_SERVICE])
async def test_a_relying_party_gets_what_was_revoked_signed_by_the_issuer(
    service: Running, gateway: Client, client_id: str
) -> None:
    tokens = await sign_in(gateway)
    ended = await gateway.ask(SignOut(access_token=tokens.access_token))
    party = await service.client(client_id)

    page = await party.ask(GetRevocations())

    feed = Feed(service.root, service.trust.key_set)
    assert not feed.take_snapshot(page.snapshot, now=time.time(), ticks=0)
    with pytest.raises(RevokedTokenError):
        feed.revocations.check(session=ended.sid, subject="", epoch=0)


async def test_each_request_of_operators_alone_is_answered_to_their_desk(
    service: Running, gateway: Client
) -> None:
    desk = await service.client(OPERATOR_DESK)

    for request in OPERATORS_ALONE:
        with pytest.raises(RpcRefusedError) as refusal:
            await desk.ask(request)
        assert refusal.value.code == "invalid_grant", request.route.type
    assert await sign_in(gateway)


async def test_a_party_whose_encryption_key_is_out_of_date_may_ask_what_is_new(
    service: Running,
) -> None:
    """The statement that tells of its new key is what it has to ask for."""
    path = service.state / "keys" / ORDER_SERVICE / "enc.pem"
    path.unlink()
    DecryptionKey.generate().save(path, None)
    party = await service.client(ORDER_SERVICE)

    assert (await party.ask(GetKeySet())).statement == service.trust.key_set.statement
    assert (await party.ask(GetRevocations())).snapshot


async def test_a_token_is_looked_at_and_ended_over_the_wire(gateway: Client) -> None:
    tokens = await sign_in(gateway)
    assert (await gateway.ask(Introspect(token=tokens.access_token))).active

    await gateway.ask(RevokeToken(token=tokens.refresh_token or "", hint="refresh_token"))

    assert not (await gateway.ask(Introspect(token=tokens.access_token))).active


async def test_who_reads_the_broker_reads_neither_passwords_nor_tokens(
    service: Running, gateway: Client
) -> None:
    connection = await aio_pika.connect(service.amqp_url)
    async with connection:
        channel = await connection.channel()
        tap = await channel.declare_queue(exclusive=True)
        await tap.bind(RPC.name, USERS_RPC)
        await tap.bind(REPLY.name, "#")

        tokens = await sign_in(gateway)

        request = await tap.get(timeout=10)
        reply = await tap.get(timeout=10)

    assert (request.type, reply.type) == ("users.issue.v1", "users.issue.v1.reply")
    for message in (request, reply):
        assert message.content_type == "application/jose"
        assert message.delivery_mode == aio_pika.DeliveryMode.NOT_PERSISTENT
        seen = message.body + repr(message.headers).encode()
        for secret in (PASSWORD, '"ada"', tokens.access_token, tokens.refresh_token or "-"):
            assert secret.encode() not in seen


async def test_a_captured_request_does_nothing_at_a_replica_that_never_saw_it(
    amqp_url: str, tmp_path: Path
) -> None:
    """Its sender may have meant it; whoever sends it again ends no session with it."""
    prepare(tmp_path)
    connection = await aio_pika.connect(amqp_url)
    async with connection, opened(tmp_path, amqp_url) as service:
        gateway = await service.client()
        channel = await connection.channel()
        async with serving(tmp_path, amqp_url):
            await gateway.ask(Register(name="ada", password=PASSWORD))
            token = (await sign_in(gateway)).refresh_token or ""
            tap = await channel.declare_queue(exclusive=True)
            await tap.bind(RPC.name, USERS_RPC)
            refreshed = await gateway.ask(Refresh(refresh_token=token))
            captured = await tap.get(timeout=10)
        async with serving(tmp_path, amqp_url):  # which has no memory but its database
            replies = await channel.declare_queue(exclusive=True)
            await replies.bind(REPLY.name, "#")
            exchange = await channel.get_exchange(RPC.name)
            await exchange.publish(
                aio_pika.Message(
                    captured.body,
                    headers=captured.headers,
                    type=captured.type,
                    content_type=captured.content_type,
                    reply_to=captured.reply_to,
                    correlation_id=captured.correlation_id,
                ),
                USERS_RPC,
            )
            assert (await next_of(replies)).type == "users.refresh.v1.reply"

            assert await gateway.ask(Refresh(refresh_token=refreshed.refresh_token or ""))


async def test_a_refresh_that_comes_to_nothing_in_its_time_spends_no_token(
    amqp_url: str, tmp_path: Path, postgres: Postgres
) -> None:
    """Its caller has had no answer and asks again: that must not look like a thief's reuse."""
    prepare(tmp_path)
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(postgres.fresh_database())
        except UnavailableError as error:
            pytest.skip(f"no PostgreSQL: {error}")
        database = open_database(url)
        stack.push_async_callback(database.close)
        logs = stack.enter_context(capture_logs())
        service = await stack.enter_async_context(opened(tmp_path, amqp_url))
        await stack.enter_async_context(serving(tmp_path, amqp_url, url))
        gateway = await service.client()
        await gateway.ask(Register(name="ada", password=PASSWORD))
        token = (await sign_in(gateway)).refresh_token or ""

        async with database.transaction() as session:
            await session.execute(select(Session).with_for_update())
            with pytest.raises(RpcTimeoutError):  # it waits for the row that we hold
                await gateway.ask(Refresh(refresh_token=token), deadline=2)
            await until(lambda: any(entry.get("why") == "out_of_time" for entry in logs))

        assert await gateway.ask(Refresh(refresh_token=token))


async def next_of(queue: AbstractQueue) -> AbstractIncomingMessage:
    async with queue.iterator(timeout=10) as messages:
        return await anext(messages)
