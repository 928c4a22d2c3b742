"""The user service as others meet it: sealed, encrypted requests over the broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import pytest_asyncio

from auth.assertion import sign_assertion
from auth.jws import parse_claims
from auth.keyset import TrustRoot
from auth.strict import parse_token
from auth.tokens import CarnetClaims
from auth.verifier import Verifier
from messaging.contract import Request
from messaging.rpc import RpcRefusedError, RpcTimeoutError
from messaging.topology import REPLY, RPC
from services.contracts.topology import USERS_RPC
from services.contracts.users import (
    ClientCredentials,
    Exchange,
    GetKeySet,
    Refresh,
    Register,
    SignIn,
    SignOut,
    Tokens,
)
from tests.services.users.realm import PASSWORD, REPORTS
from tests.services.users.running import Client, Running, running


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


async def test_a_client_that_may_not_ask_gets_no_answer(service: Running, gateway: Client) -> None:
    """Its seal is genuine; the statement gives it no type to publish."""
    reports = await service.client(REPORTS)

    with pytest.raises(RpcTimeoutError):
        await reports.ask(SignIn(name="ada", password=PASSWORD), deadline=2)

    assert await sign_in(gateway)


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
        for secret in (PASSWORD, "ada", tokens.access_token, tokens.refresh_token or "-"):
            assert secret.encode() not in seen
