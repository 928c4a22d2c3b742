"""A service whose handler commands another one in its caller's name (RFC 8693 §4.1)."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
import pytest_asyncio
from pydantic import BaseModel

from auth.jws import parse_claims
from auth.message import Route
from auth.policy import public, requires
from auth.principal import Principal
from auth.seal import Sealer
from auth.statement import KeySetDraft
from auth.strict import parse_token
from auth.tokens import CarnetClaims
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import CommandConsumer
from messaging.contract import Command
from messaging.envelope import Envelope
from messaging.errors import TransientError
from messaging.onward import Onward, UndeclaredHopError
from messaging.publisher import Publisher
from messaging.rpc import Caller as RpcCaller
from messaging.rpc import Refused, RpcParts, RpcServer
from messaging.topology import COMMANDS, RETRY, WorkQueue
from messaging.unit_of_work import UnitOfWork
from services.authority import Authority
from services.contracts.clients import CLIENTS
from services.contracts.scopes import ORDERS_READ, ORDERS_WRITE
from services.contracts.topology import GATEWAY, USER_SERVICE, USERS_RPC
from services.contracts.users import Exchange, Exchanged, Register, SignIn
from services.keyring import Keyring
from services.local.logins import Login
from services.users.acts import Asker
from tests.brokers import RunningBroker
from tests.messaging.raw import WAIT, Raw, raw_channel, until
from tests.services.gateway.stack import PASSWORD, Stack, open_stack
from tests.services.small import ONE_DAY, Service, service

PACKING: Final = "packing-service"
COURIER: Final = "courier-service"
HOP: Final = Onward(COURIER, frozenset({ORDERS_WRITE}))


class Pack(Command):
    """The user's wish."""

    route: ClassVar[Route] = Route(COMMANDS.name, "packing.pack", "packing.pack.v1")

    what: str

    def concerns(self, message_id: str) -> str:
        del message_id
        return self.what.partition(" ")[0]


class Sweep(Command):
    """Another wish, for which nobody else has to do anything."""

    route: ClassVar[Route] = Route(COMMANDS.name, "packing.sweep", "packing.sweep.v1")


class Deliver(Command):
    """What the packing service wants of the courier, for the user."""

    route: ClassVar[Route] = Route(COMMANDS.name, "parcels.deliver", "parcels.deliver.v1")

    what: str


def list_them(folder: Path, *, exchanges: frozenset[str] = frozenset({COURIER})) -> None:
    """Both services in the key set; the packing service may ask for these audiences."""
    authority = Authority(folder)
    keyring = Keyring(authority.keys, None)
    draft = KeySetDraft.of(authority.latest())
    gateway = CLIENTS[GATEWAY]
    draft.grant(
        GATEWAY,
        publishes=gateway.publishes | {Pack.route.type, Sweep.route.type},
        exchanges=gateway.exchanges | {PACKING},
        scopes=gateway.scopes,
    )
    rights = {
        PACKING: ({Deliver.route.type, Exchange.route.type}, exchanges),
        COURIER: (set[str](), frozenset[str]()),
    }
    for client, (publishes, audiences) in rights.items():
        draft.add_client(
            client,
            key=keyring.seal(client).public,
            enc=keyring.encryption(client).public,
            publishes=frozenset(publishes),
            exchanges=audiences,
            scopes=frozenset(),
        )
    authority.publish(draft, now=time.time())


@dataclass
class Trade:
    """The gateway with a user's carnet, the packing service, the courier."""

    stack: Stack
    gateway: Service
    packing: Service
    courier: Service
    carnet: str
    raw: Raw
    failures: int = 0
    """How often the packing service is still to fail, after it has sent."""

    @property
    def claims(self) -> CarnetClaims:
        return parse_claims(parse_token(self.carnet), CarnetClaims)

    async def pack(self, command: Pack, caller: Principal, work: UnitOfWork) -> None:
        work.send_onward(
            Deliver(what=command.what), to=COURIER, wanted_for=ONE_DAY, aggregate="parcels"
        )
        if self.failures:
            self.failures -= 1
            raise TransientError("the tape is out")
        self.packing.handled.append((command.what, caller))

    async def deliver(self, command: Deliver, caller: Principal, work: UnitOfWork) -> None:
        del work
        self.courier.handled.append((command.what, caller))

    @asynccontextmanager
    async def packing_runs(self, *onward: Onward) -> AsyncIterator[None]:
        policy = requires(ORDERS_WRITE)
        async with self.packing.running(Pack, policy, self.pack, onward=onward or (HOP,)):
            yield

    @asynccontextmanager
    async def courier_runs(self) -> AsyncIterator[None]:
        async with self.courier.running(Deliver, requires(ORDERS_WRITE), self.deliver):
            yield

    @asynccontextmanager
    async def issuer_answers(
        self, contract: type[Exchange], answer: Callable[..., Awaitable[BaseModel]]
    ) -> AsyncIterator[None]:
        """In the user service's place, with its keys and from its queue."""
        await self.stack.stop(USER_SERVICE)
        issuer = service(self.stack, USER_SERVICE, self.gateway.broker)
        server, shutdown = RpcServer(USERS_RPC), asyncio.Event()
        server.answers(contract, public())(answer)
        parts = RpcParts(
            broker=issuer.broker,
            publisher=Publisher(issuer.broker, client_id=USER_SERVICE),
            sealer=issuer.sealer,
            verifier=Verifier(issuer.trust, audience=USER_SERVICE),
            trust=issuer.trust,
            decryption=issuer.decryption,
            clock=time.time,
        )
        async with asyncio.TaskGroup() as running:
            running.create_task(server.run(parts, shutdown))
            await until(lambda: server.ready)
            try:
                yield
            finally:
                shutdown.set()

    async def all_retried(self, *wishes: str) -> None:
        """Each is tried later, and none refused."""
        seen = await self.raw.listen(RETRY.name, self.packing.queue.retries[0].name)
        await self.ask(*wishes)
        await self.raw.until_count(seen, len(wishes))
        assert await self.raw.count(self.packing.queue.dead) == 0
        assert self.packing.handled == []

    async def ask(self, *wishes: str, times: int = 1) -> None:
        """The gateway's commands, in order, each so often."""
        for what in wishes:
            await self.send(Pack(what=what), times=times)

    async def send(self, command: Command, *, times: int = 1) -> None:
        publisher = Publisher(self.gateway.broker, client_id=GATEWAY)
        envelope = self._sealed(command)
        for _ in range(times):
            await publisher.publish(envelope, deadline=WAIT)

    def _sealed(self, command: Command) -> Envelope:
        body, now = command.to_body(), time.time()
        seal = Sealer(GATEWAY, self.stack.seal_key(GATEWAY)).command(
            route=command.route,
            audience=PACKING,
            message_id=str(uuid.uuid4()),
            body=body,
            carnet=self.carnet,
            now=now,
            expires_at=now + 3600,
        )
        return Envelope.sealed(command.route, body, seal=seal, carnet=self.carnet)

    async def reason(self, of: Service) -> Any:
        """Why the next dead letter of a service is one."""
        return (await self.raw.next(of.queue.dead)).headers["carnet-reason"]


@pytest_asyncio.fixture
async def trade(amqp_url: str, tmp_path: Path) -> AsyncIterator[Trade]:
    async with open_stack(tmp_path, lambda _: amqp_url, USER_SERVICE) as stack:
        list_them(stack.folder)
        await stack.stop(USER_SERVICE)
        await stack.start(USER_SERVICE)
        broker = await Broker(amqp_url, name="trade").start(WAIT)
        gateway, packing, courier = (
            service(stack, each, broker) for each in (GATEWAY, PACKING, COURIER)
        )
        try:
            async with raw_channel(amqp_url) as raw:
                yield Trade(stack, gateway, packing, courier, await _signed_in(gateway), raw)
        finally:
            await broker.close(WAIT)


async def _signed_in(gateway: Service) -> str:
    """The carnet of somebody who has just registered, made out to the packing service."""
    rpc = gateway.rpc
    await rpc.start(WAIT)
    await rpc.call(Register(name="ada", password=PASSWORD), responder=USER_SERVICE, deadline=WAIT)
    tokens = await rpc.call(
        SignIn(name="ada", password=PASSWORD), responder=USER_SERVICE, deadline=WAIT
    )
    request = Exchange(
        subject_token=tokens.access_token, audience=PACKING, scope=f"{ORDERS_READ} {ORDERS_WRITE}"
    )
    exchanged = await rpc.call(request, responder=USER_SERVICE, deadline=WAIT)
    await rpc.close()
    return exchanged.carnet


async def test_a_handler_s_command_is_handled_in_its_caller_s_name(trade: Trade) -> None:
    """With the user as the subject, both services as the actors, and no more scope than wanted."""
    async with trade.packing_runs(), trade.courier_runs():
        spied = await trade.raw.listen(COMMANDS.name, Deliver.route.routing_key)
        await trade.ask("tea", times=2)
        await trade.ask("cup", "pot")

        await until(lambda: len(trade.courier.handled) == 3)
        await trade.raw.until_count(spied, 3)

        assert [what for what, _ in trade.courier.handled] == ["tea", "cup", "pot"]
        for _, caller in trade.courier.handled:
            assert caller.subject == trade.claims.sub
            assert caller.session == trade.claims.sid
            assert caller.actors == (PACKING, GATEWAY)
            assert caller.scopes == {ORDERS_WRITE}
            assert caller.expires_at <= trade.claims.exp


async def test_nothing_is_sent_for_what_is_undone(trade: Trade) -> None:
    trade.failures = 1
    async with trade.packing_runs(), trade.courier_runs():
        spied = await trade.raw.listen(COMMANDS.name, Deliver.route.routing_key)
        await trade.ask("tea")

        await until(lambda: len(trade.courier.handled) == 1)
        assert trade.failures == 0
        assert await trade.raw.count(spied) == 1


async def test_a_command_waits_undone_for_an_issuer_that_is_away(trade: Trade) -> None:
    """It is ours to wait: nothing is refused, and nothing done by halves."""
    await trade.stack.stop(USER_SERVICE)
    async with trade.packing_runs(), trade.courier_runs():
        await trade.ask("tea")
        await trade.raw.until_count(trade.packing.queue.name, 0)
        assert trade.packing.handled == []

        await trade.stack.start(USER_SERVICE)

        async with asyncio.timeout(60):
            while not trade.courier.handled:  # noqa: ASYNC110 - a list has no event
                await asyncio.sleep(0.05)
        assert trade.courier.handled[0][1].actors == (PACKING, GATEWAY)


async def test_commands_that_wait_for_the_issuer_leave_others_their_room(trade: Trade) -> None:
    """However many there are: the broker hands over so many ahead, and no more than half are they.

    The others stand aside, uncounted, and in their order where they are about the same.
    """
    swept: list[Principal] = []

    async def sweep(_command: Sweep, caller: Principal, _work: UnitOfWork) -> None:
        swept.append(caller)

    policy = requires(ORDERS_WRITE)
    alike, others = [f"tea {n}" for n in range(10)], [f"cup-{n}" for n in range(10)]
    await trade.stack.stop(USER_SERVICE)
    packing = trade.packing.running(
        Pack, policy, trade.pack, onward=(HOP,), beside=(Sweep, policy, sweep), prefetch=8
    )
    async with packing, trade.courier_runs():
        await trade.ask(*alike, *others)
        await trade.send(Sweep())

        await until(lambda: len(swept) == 1)
        assert trade.packing.handled == []

        await trade.stack.start(USER_SERVICE)

        async with asyncio.timeout(90):
            while len(trade.courier.handled) < 20:  # noqa: ASYNC110 - a list has no event
                await asyncio.sleep(0.05)
        packed = [what for what, _ in trade.packing.handled]
        assert [what for what in packed if what in alike] == alike
        assert sorted(packed) == sorted(alike + others)
        assert await trade.raw.count(trade.packing.queue.dead) == 0


async def test_nobody_acts_by_a_carnet_that_has_ended(trade: Trade) -> None:
    """The command may wait for a day; what it lets others do in its user's name may not."""
    trade.packing.ahead = 301
    async with trade.packing_runs(), trade.courier_runs():
        await trade.ask("tea")

        assert await trade.reason(trade.packing) == "onward_expired"
        assert trade.packing.handled == trade.courier.handled == []


async def test_a_command_that_left_late_is_as_good_as_when_it_was_written(trade: Trade) -> None:
    """The outbox may wait for the broker for longer than a carnet lives."""
    async with trade.packing_runs():
        await trade.ask("tea")
        await until(lambda: trade.packing.handled != [])
    # It could not be routed until now: there was no queue of the courier's.
    trade.packing.ahead = trade.courier.ahead = 3600
    async with trade.courier_runs(), trade.packing_runs():
        await until(lambda: len(trade.courier.handled) == 1)
        assert trade.courier.handled[0][1].expires_at < trade.courier.clock()


async def test_what_is_not_wanted_any_more_is_its_receiver_s_to_refuse(trade: Trade) -> None:
    async with trade.packing_runs():
        await trade.ask("tea")
        await until(lambda: trade.packing.handled != [])
    trade.packing.ahead = trade.courier.ahead = ONE_DAY.total_seconds() + 60
    async with trade.courier_runs(), trade.packing_runs():
        assert await trade.reason(trade.courier) == "too_old"
        assert trade.courier.handled == []


async def test_nobody_acts_for_an_account_that_was_disabled(trade: Trade) -> None:
    """The issuer knows before the packing service is told."""
    async with trade.stack.register() as register:
        await register.accounts.disable(Asker("operator:grace"), "ada")
    async with trade.packing_runs(), trade.courier_runs():
        await trade.ask("tea")

        assert await trade.reason(trade.packing) == "onward_refused"
        assert trade.packing.handled == trade.courier.handled == []


async def test_a_hop_that_the_statement_does_not_give_is_tried_later(trade: Trade) -> None:
    """The operator may yet list it: no user's command is refused for that."""
    elsewhere = Onward("nobody-service", HOP.scopes)
    async with trade.packing_runs(HOP, elsewhere):
        retries = trade.packing.queue.retries
        seen = await trade.raw.listen("carnet.retry", retries[0].name)
        await trade.ask("tea")

        await trade.raw.until_count(seen, 1)
        assert trade.packing.handled == []


PASSING: Final = (
    "internal_error",
    "malformed_token",
    "id_reused",
    "invalid_client",
    "invalid_reply",
    "expired",
    "not_yet_valid",
    "not_yet",
    "whatever_comes",
)


async def test_what_the_issuer_says_of_us_or_itself_refuses_nobody(trade: Trade) -> None:
    said = itertools.cycle(PASSING)

    async def refuse(_request: Exchange, _caller: RpcCaller) -> Exchanged:
        raise Refused(next(said), "it is not the caller's fault")

    async with trade.issuer_answers(Exchange, refuse), trade.packing_runs():
        await trade.all_retried(*PASSING)


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_scope"])
async def test_what_the_issuer_says_of_the_caller_is_final(trade: Trade, code: str) -> None:
    async def refuse(_request: Exchange, _caller: RpcCaller) -> Exchanged:
        raise Refused(code, "no")

    async with trade.issuer_answers(Exchange, refuse), trade.packing_runs():
        await trade.ask("tea")
        assert await trade.reason(trade.packing) == "onward_refused"


class Nothing(BaseModel):
    """No carnet."""


class OtherExchange(Exchange):
    """As an issuer of another version may answer it."""

    reply: ClassVar[type[Nothing]] = Nothing  # type: ignore[assignment]


async def test_an_answer_that_nobody_can_read_refuses_nobody(trade: Trade) -> None:
    async def answer(_request: OtherExchange, _caller: RpcCaller) -> Nothing:
        return Nothing()

    async with trade.issuer_answers(OtherExchange, answer), trade.packing_runs():
        await trade.all_retried("tea")


async def test_an_issuer_that_cannot_be_written_to_is_tried_later_and_counted(trade: Trade) -> None:
    listed = trade.packing.trust.key_set
    users = replace(listed.clients[USER_SERVICE], enc=None)
    trade.packing.trust = FixedTrust(
        replace(listed, clients={**listed.clients, USER_SERVICE: users})
    )
    async with trade.packing_runs():
        await trade.all_retried("tea")


async def test_a_login_that_may_not_ask_the_issuer_is_tried_later_and_counted(
    trade: Trade, broker: RunningBroker, vhost: str
) -> None:
    login = Login.generate(PACKING)
    async with broker.management() as api:
        await api.put(f"/users/{login.name}", json={"password": login.password, "tags": ""})
        rights = {"configure": ".*", "write": "^(?!carnet\\.rpc$)", "read": ".*"}
        (await api.put(f"/permissions/{vhost}/{login.name}", json=rights)).raise_for_status()
        trade.packing.broker = await Broker(broker.url(vhost, login), name="humble").start(WAIT)
        async with trade.packing_runs():
            await trade.all_retried("tea")
        await trade.packing.broker.close(WAIT)
        await api.delete(f"/users/{login.name}")


async def test_a_handler_acts_only_where_its_registration_says(trade: Trade) -> None:
    errors: list[Exception] = []

    async def pack(command: Pack, caller: Principal, work: UnitOfWork) -> None:
        del caller
        try:
            work.send_onward(
                Deliver(what=command.what), to=COURIER, wanted_for=ONE_DAY, aggregate=""
            )
        except UndeclaredHopError as error:
            errors.append(error)

    async with trade.packing.running(Pack, requires(ORDERS_WRITE), pack):
        await trade.ask("tea")
        await until(lambda: len(errors) == 1)


READ: Final = frozenset({ORDERS_READ})


@pytest.mark.parametrize(
    ("policy", "hops", "together"),
    [
        (requires(ORDERS_WRITE), [Onward(COURIER, READ)], False),
        (requires(ORDERS_WRITE), [HOP, HOP], False),
        (requires(ORDERS_WRITE), [Onward(COURIER, frozenset())], False),
        (requires(ORDERS_WRITE), [HOP], True),
        (public(), [HOP], False),
    ],
    ids=["more scope", "twice", "no scope", "shared", "no caller"],
)
def test_a_hop_is_not_registered_with(policy: Any, hops: list[Onward], together: bool) -> None:  # noqa: FBT001 - a row of the table
    consumer = CommandConsumer(WorkQueue("packing.commands"))

    with pytest.raises(ValueError, match=r"onward|handled by itself"):
        consumer.handles(Pack, policy, onward=hops, together=together)
