"""A service whose handler commands another one, under a carnet of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Final

import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage

from auth.message import Route
from auth.policy import public, requires
from auth.principal import Principal
from auth.seal import Sealer
from auth.statement import KeySetDraft
from messaging.broker import Broker
from messaging.contract import Command
from messaging.envelope import Envelope
from messaging.publisher import Publisher
from messaging.rpc import RpcTimeoutError
from messaging.topology import COMMANDS, RPC
from messaging.unit_of_work import UnitOfWork
from services import own_carnets
from services.authority import Authority
from services.contracts.topology import GATEWAY, USER_SERVICE, USERS_RPC
from services.contracts.users import ClientCredentials, Exchange
from services.keyring import Keyring
from services.own_carnets import OwnCarnets
from tests.messaging.raw import WAIT, raw_channel, until
from tests.services.gateway.stack import Stack, open_stack
from tests.services.small import ONE_DAY, Service, service

PACKING: Final = "packing-service"
COURIER: Final = "courier-service"
DELIVER: Final = "parcels:deliver"


class Pack(Command):
    """The gateway's wish, for everybody to send."""

    route: ClassVar[Route] = Route(COMMANDS.name, "packing.pack", "packing.pack.v1")

    what: str


class Deliver(Command):
    """What the packing service wants of the courier."""

    route: ClassVar[Route] = Route(COMMANDS.name, "parcels.deliver", "parcels.deliver.v1")

    what: str


def list_them(folder: Path) -> None:
    """Both services in the key set, with just the rights that they need."""
    authority = Authority(folder)
    keyring = Keyring(authority.keys, None)
    draft = KeySetDraft.of(authority.latest())
    draft.grant(
        GATEWAY, publishes=frozenset({Pack.route.type}), exchanges=frozenset(), scopes=frozenset()
    )
    draft.add_client(
        PACKING,
        key=keyring.seal(PACKING).public,
        enc=keyring.encryption(PACKING).public,
        publishes=frozenset(
            contract.route.type for contract in (Deliver, ClientCredentials, Exchange)
        ),
        exchanges=frozenset({COURIER}),
        scopes=frozenset({DELIVER}),
    )
    draft.add_client(
        COURIER,
        key=keyring.seal(COURIER).public,
        enc=None,
        publishes=frozenset(),
        exchanges=frozenset(),
        scopes=frozenset(),
    )
    authority.publish(draft, now=time.time())


@pytest_asyncio.fixture
async def stack(amqp_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """The user service alone, not started again since the two were listed."""
    async with open_stack(tmp_path, lambda _: amqp_url, USER_SERVICE) as stack:
        list_them(stack.folder)
        await stack.stop(USER_SERVICE)
        yield stack


@asynccontextmanager
async def both(stack: Stack, amqp_url: str) -> AsyncIterator[tuple[Service, Service]]:
    """The packing service, whose handler commands the courier, and the courier."""
    broker = await Broker(amqp_url, name="onward").start(WAIT)
    packing, courier = (service(stack, each, broker) for each in (PACKING, COURIER))

    async def pack(command: Pack, caller: Principal, work: UnitOfWork) -> None:
        packing.handled.append((command.what, caller))
        work.send(
            Deliver(what=command.what),
            to=COURIER,
            scopes=frozenset({DELIVER}),
            wanted_for=ONE_DAY,
            aggregate=command.what,
        )

    async def deliver(command: Deliver, caller: Principal, work: UnitOfWork) -> None:
        del work
        courier.handled.append((command.what, caller))

    try:
        async with (
            packing.running(Pack, public(), pack),
            courier.running(Deliver, requires(DELIVER), deliver),
        ):
            yield packing, courier
    finally:
        await broker.close(WAIT)


def packed(stack: Stack, what: str) -> Envelope:
    """The gateway's command."""
    body, now = Pack(what=what).to_body(), time.time()
    seal = Sealer(GATEWAY, stack.seal_key(GATEWAY)).command(
        route=Pack.route,
        audience=PACKING,
        message_id=f"pack-{what:0>16}",
        body=body,
        carnet=None,
        now=now,
        expires_at=now + 3600,
    )
    return Envelope.sealed(Pack.route, body, seal=seal, carnet=None)


async def test_a_handler_s_command_is_handled_in_the_sender_s_own_name(
    stack: Stack, amqp_url: str
) -> None:
    """The user service gives the sender a carnet, for the receiver and the scope it is listed for.

    However often the first command is delivered, the second one is sent once.
    """
    await stack.start(USER_SERVICE)
    async with both(stack, amqp_url) as (packing, courier), raw_channel(amqp_url) as raw:
        spied = await raw.listen(COMMANDS.name, Deliver.route.routing_key)
        publisher = Publisher(packing.broker, client_id=GATEWAY)
        for _ in range(2):
            await publisher.publish(packed(stack, "tea"), deadline=WAIT)
        await publisher.publish(packed(stack, "cup"), deadline=WAIT)

        await until(lambda: len(courier.handled) == 2)
        await raw.until_count(spied, 2)

        assert sorted(what for what, _ in packing.handled) == ["cup", "tea"]
        assert sorted(what for what, _ in courier.handled) == ["cup", "tea"]
        for _, caller in courier.handled:
            assert caller.subject == f"service:{PACKING}"
            assert caller.scopes == {DELIVER}
            assert (caller.actors, caller.session) == ((), None)


def _into(
    seen: list[AbstractIncomingMessage],
) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
    async def note(message: AbstractIncomingMessage) -> None:
        seen.append(message)

    return note


async def test_who_waits_for_a_carnet_makes_no_call_of_its_own_when_there_is_no_answer(
    stack: Stack, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a look at the outbox would take a deadline for each command of another service."""
    monkeypatch.setattr(own_carnets, "DEADLINE", 1.0)
    broker = await Broker(amqp_url, name="waiting").start(WAIT)
    packing = service(stack, PACKING, broker)
    rpc = packing.rpc
    await rpc.start(WAIT)
    carnets = OwnCarnets(rpc, packing.sealer, clock=time.time)
    async with raw_channel(amqp_url) as raw:
        asked: list[AbstractIncomingMessage] = []
        spied = await raw.channel.get_queue(await raw.listen(RPC.name, USERS_RPC), ensure=False)
        await spied.consume(_into(asked), no_ack=True)

        failures = await asyncio.gather(
            *(carnets(f"{COURIER}-{number}", frozenset({DELIVER})) for number in range(20)),
            return_exceptions=True,
        )
        assert {type(each) for each in failures} == {RpcTimeoutError}
        await until(lambda: len(asked) == 1)

        # Nor when whoever made the call gives up; who comes afterwards tries anew.
        monkeypatch.setattr(own_carnets, "DEADLINE", WAIT)
        first = asyncio.create_task(carnets(COURIER, frozenset({DELIVER})))
        await until(lambda: len(asked) == 2)
        second = asyncio.create_task(carnets(COURIER, frozenset({DELIVER})))
        await asyncio.sleep(0)  # it waits now
        first.cancel()
        with pytest.raises(RpcTimeoutError):
            await second
        assert len(asked) == 2

        await stack.start(USER_SERVICE)
        assert await carnets(COURIER, frozenset({DELIVER}))
    await rpc.close()
    await broker.close(WAIT)


async def test_a_command_waits_for_the_user_service_and_the_service_itself_does_not(
    stack: Stack, amqp_url: str
) -> None:
    async with both(stack, amqp_url) as (packing, courier):
        publisher = Publisher(packing.broker, client_id=GATEWAY)
        await publisher.publish(packed(stack, "tea"), deadline=WAIT)
        await until(lambda: len(packing.handled) == 1)
        assert courier.handled == []

        await stack.start(USER_SERVICE)

        async with asyncio.timeout(60):
            while not courier.handled:  # noqa: ASYNC110 - a list has no event
                await asyncio.sleep(0.05)
        assert [what for what, _ in courier.handled] == ["tea"]
