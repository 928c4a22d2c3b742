"""Logging in at RabbitMQ with tokens: its own OAuth 2 plugin judges them, on 3.10 and on 4.3."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import jwt
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.exceptions import ChannelAccessRefused
from yarl import URL

from auth.assertion import sign_assertion
from auth.brokertoken import sign_broker_token
from auth.keys import SigningKey
from auth.keyset import KeySet
from auth.strict import encode_base64url
from auth.tokens import Issuer
from messaging.broker import Broker
from messaging.errors import BrokerLoginError, VirtualHostError
from messaging.link import Link
from messaging.login import BrokerToken
from messaging.probe import accepts
from messaging.topology import declare
from services.authority import Authority
from services.contracts.topology import GATEWAY, ORDER_SERVICE, whole_topology
from services.declared import rights_with
from services.demo.client import ShopClient, next_event
from services.keyring import Keyring
from services.local import container
from services.local.broker import OwnBroker
from services.local.command import run
from services.local.container import BrokerContainer
from services.local.definitions import stack_definitions
from services.local.installation import find_installation
from services.local.logins import OPERATOR, Login
from services.local.node import NAME, PrivateNode
from services.local.running import told
from services.local.stack import LocalStack
from services.local.token_login import TokenLogin
from services.local.trust import make_local_trust
from services.settings import BROKER_RESOURCE
from services.users.broker_scopes import broker_scopes
from tests.brokers import KINDS
from tests.own_service import BILLING, billing
from tests.own_service import declare as declare_to
from tests.services.local.test_rights import ACTS, ALL, SHARDS, allowed_to, version_of

WAIT = 20.0

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Realm:
    """A broker that believes one issuer, and that issuer's keys."""

    broker: OwnBroker
    state: Path
    key_set: KeySet
    active: SigningKey
    others: Mapping[str, SigningKey]
    """Which the broker believes as well, by what is special about them."""

    def url(self, client: str, token: str | None = None) -> str:
        url = self.broker.url(client)
        return url if token is None else url.replace("@", f":{token}@", 1)

    def token(self, client: str = ORDER_SERVICE, **changed: Any) -> str:
        """A token as the user service makes them, but for what is changed."""
        rights = rights_with((BILLING,))[client]
        scopes = broker_scopes(client, rights, resource=BROKER_RESOURCE, vhost="/")
        given = {
            "key": self.active,
            "client_id": client,
            "resource": BROKER_RESOURCE,
            "scopes": scopes,
            "now": time.time(),
            **changed,
        }
        return sign_broker_token(self.key_set.issuer, given.pop("key"), **given)


def _key_named(beginning: str) -> SigningKey:
    """A key whose id begins so: it stands in the name of a setting."""
    while not (key := SigningKey.generate()).kid.startswith(beginning):
        pass
    return key


OTHER_KEYS: dict[str, Callable[[], SigningKey]] = {
    "id begins with -": lambda: _key_named("-"),
    "id begins with _": lambda: _key_named("_"),
    "RS256": lambda: SigningKey.generate("RS256"),
    "EdDSA": lambda: SigningKey.generate("EdDSA"),
}


async def _open_realm(kind: str, folder: Path) -> tuple[Realm, PrivateNode | BrokerContainer]:
    state = folder / "state"
    declare_to(state)
    make_local_trust(state, declared=(BILLING,))
    key_set = Authority(state).current(now=time.time())
    keys = {key.kid: key for key in Keyring(state / "keys", None).issuer()}
    by_state = {listed.state: keys[kid] for kid, listed in key_set.issuer_keys.items()}
    others = {"next": by_state["next"], **{name: make() for name, make in OTHER_KEYS.items()}}
    believed = {key.kid: key.public for key in others.values()}
    operator = Login.generate(OPERATOR)
    definitions = stack_definitions({OPERATOR: operator}, shards=SHARDS, declared=(BILLING,))
    tokens = TokenLogin.of(key_set, BROKER_RESOURCE, now=time.time())
    tokens = TokenLogin(tokens.resource, {**tokens.keys, **believed})
    server: PrivateNode | BrokerContainer
    if kind == "container":
        if not await container.engine_answers() or not await container.image_is_here():
            pytest.skip(f"no container of {container.IMAGE}")
        server = BrokerContainer(folder / "broker", definitions, tokens=tokens)
    else:
        installation = find_installation()
        if installation is None or not installation.new_enough:
            pytest.skip("rabbitmq-server 3.10 or newer is not installed")
        server = PrivateNode(installation, folder / "broker", definitions, tokens=tokens)
    await server.start(operator)
    broker = OwnBroker(f"the tests' {kind}", server, {OPERATOR: operator})
    return Realm(broker, state, key_set, by_state["active"], others), server


@pytest_asyncio.fixture(scope="module", params=KINDS)
async def realm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Realm]:
    realm, server = await _open_realm(request.param, tmp_path_factory.mktemp(request.param))
    yield realm
    await server.kill()
    await server.forget()


@pytest.mark.parametrize("client", ALL)
async def test_a_token_lets_its_client_do_its_job_and_nothing_else(
    realm: Realm, client: str
) -> None:
    connection = await aio_pika.connect(realm.url(client, realm.token(client)), timeout=WAIT)
    version = version_of(connection)

    did = set()
    for name, (act, _) in ACTS.items():
        async with await connection.channel() as channel:
            try:
                await act(channel, client)
                did.add(name)
            except ChannelAccessRefused:
                pass
    await connection.close()

    assert did == allowed_to(client, version)


@pytest.mark.parametrize("key", ["next", *OTHER_KEYS])
async def test_every_key_that_is_listed_is_believed(realm: Realm, key: str) -> None:
    """The next one too, so that the issuer may move to it without a word to the broker."""
    if key == "EdDSA" and _is_debian_13s(realm.broker._server):
        pytest.skip("RabbitMQ 4.0 of Debian 13 believes no Ed25519 key")
    token = realm.token(key=realm.others[key])

    connection = await aio_pika.connect(realm.url(ORDER_SERVICE, token), timeout=WAIT)

    assert await can_publish(connection)
    await connection.close()


async def test_a_service_starts_with_its_tokens(realm: Realm) -> None:
    async def tokens() -> BrokerToken:
        return BrokerToken(realm.token(), 900)

    broker = Broker(realm.url(ORDER_SERVICE), name=ORDER_SERVICE)
    await broker.start(WAIT, tokens=tokens)

    await declare(broker, whole_topology(SHARDS), deadline=WAIT)

    assert broker.connected
    await broker.close(WAIT)


def _signed_with_nothing(realm: Realm) -> str:
    _, payload, _ = realm.token().split(".")
    header = {"alg": "none", "kid": realm.active.kid, "typ": "carnet-broker+jwt"}
    return f"{encode_base64url(json.dumps(header).encode())}.{payload}."


def _signed_with_the_public_key(realm: Realm) -> str:
    """As a shared secret: the oldest trick there is."""
    _, payload, _ = realm.token().split(".")
    header = {"alg": "HS256", "kid": realm.active.kid, "typ": "carnet-broker+jwt"}
    signed = f"{encode_base64url(json.dumps(header).encode())}.{payload}"
    secret = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = secret.sign(signed.encode(), realm.active.public.to_pem())
    return f"{signed}.{encode_base64url(signature)}"


def _under_our_kid(realm: Realm) -> str:
    header, payload, _ = realm.token().split(".")
    signature = SigningKey.generate().sign(f"{header}.{payload}".encode())
    return f"{header}.{payload}.{encode_base64url(signature)}"


def _with_more_scope(realm: Realm) -> str:
    header, _, signature = realm.token().split(".")
    _, payload, _ = realm.token(scopes=(f"{BROKER_RESOURCE}.read:*/*",)).split(".")
    return f"{header}.{payload}.{signature}"


def _access_token(realm: Realm) -> str:
    return _issuer(realm).access_token(
        subject="service:order-service",
        audience=GATEWAY,
        client_id=GATEWAY,
        scopes=frozenset({"orders:write"}),
        session=None,
        epoch=0,
        auth_time=None,
        now=time.time(),
    )


def _issuer(realm: Realm) -> Issuer:
    return Issuer(realm.key_set.issuer, realm.active)


def _assertion(realm: Realm) -> str:
    key = Keyring(realm.state / "keys", None).seal(ORDER_SERVICE)
    return sign_assertion(ORDER_SERVICE, key, audience=BROKER_RESOURCE, now=time.time())


REFUSED: dict[str, Callable[[Realm], str]] = {
    "it is for another broker": lambda realm: realm.token(resource="another-broker"),
    "it is for a longer name": lambda realm: realm.token(resource=f"{BROKER_RESOURCE}-2"),
    "it is expired": lambda realm: realm.token(now=time.time() - 901),
    "it expires now": lambda realm: realm.token(life=0),
    "a stranger signed it": lambda realm: realm.token(key=SigningKey.generate()),
    "a client signed it": lambda realm: realm.token(
        key=Keyring(realm.state / "keys", None).seal(ORDER_SERVICE)
    ),
    "a stranger signed it in our key's name": _under_our_kid,
    "nobody signed it": _signed_with_nothing,
    "it is signed with the public key": _signed_with_the_public_key,
    "its scope was changed": _with_more_scope,
    "it is an access token": _access_token,
    "it is an assertion for the token endpoint": _assertion,
    "it is no token": lambda _realm: "a-password",
    "it is a header": lambda realm: realm.token().partition(".")[0],
}


@pytest.mark.parametrize("case", REFUSED)
async def test_the_broker_refuses_any_other_token(realm: Realm, case: str) -> None:
    token = REFUSED[case](realm)

    async def tokens() -> BrokerToken:
        return BrokerToken(token, 900)

    with pytest.raises(BrokerLoginError) as refusal:
        await Link(realm.url(ORDER_SERVICE), name="test").start(WAIT, tokens=tokens)

    assert token not in str(refusal.value)


@pytest.mark.parametrize(
    "scope",
    [
        "other-broker.read:%2F/orders.commands",
        f"{BROKER_RESOURCE}.read:elsewhere/orders.commands",
        "read:%2F/orders.commands",
    ],
)
async def test_scopes_for_another_place_open_nothing_here(realm: Realm, scope: str) -> None:
    async def tokens() -> BrokerToken:
        return BrokerToken(realm.token(scopes=(scope,)), 900)

    with pytest.raises(VirtualHostError):
        await Link(realm.url(ORDER_SERVICE), name="test").start(WAIT, tokens=tokens)


@pytest.mark.parametrize("name", [*ALL, "guest"])
async def test_no_service_has_a_password_left(realm: Realm, name: str) -> None:
    with pytest.raises(BrokerLoginError):
        await Link(realm.url(name, "guest"), name="test").start(WAIT)


async def test_the_operator_logs_in_with_a_password_still(realm: Realm) -> None:
    link = Link(realm.broker.url(OPERATOR), name="test")

    await link.start(WAIT)

    assert link.connected
    await link.close(WAIT)


async def test_a_token_renewed_on_the_open_connection_outlives_the_first(realm: Realm) -> None:
    """Another connection with that same first token shows when the broker takes it no more."""
    given: list[str] = []

    async def tokens() -> BrokerToken:
        now = time.time()
        given.append(realm.token(life=6, now=now))
        return BrokerToken(given[-1], int(now) + 6 - now)

    link = Link(realm.url(ORDER_SERVICE), name="test")
    await link.start(WAIT, tokens=tokens)
    first = link._connection
    opened_before = await link.channel(WAIT)
    unrenewed = await aio_pika.connect(realm.url(ORDER_SERVICE, given[0]), timeout=WAIT)
    assert await can_publish(unrenewed)

    async with asyncio.timeout(WAIT):
        while await can_publish(unrenewed):  # noqa: ASYNC110 - the broker's clock tells nobody
            await asyncio.sleep(0.1)

    assert link._connection is first
    assert first is not None
    assert await can_publish(first)
    dead = await opened_before.get_exchange("carnet.dead", ensure=False)
    await dead.publish(aio_pika.Message(b"{}"), "orders.commands.dead", timeout=WAIT)
    assert len(given) > 1
    await unrenewed.close()
    await link.close(WAIT)


async def can_publish(connection: AbstractConnection) -> bool:
    """Whether the broker lets the order service do something on a channel that is new to it."""
    try:
        async with connection.channel() as channel:
            dead = await channel.get_exchange("carnet.dead", ensure=False)
            await dead.publish(aio_pika.Message(b"{}"), "orders.commands.dead", timeout=WAIT)
    except (*CONNECTION_EXCEPTIONS, asyncio.CancelledError):
        return False
    return True


async def test_a_renewal_that_the_broker_refuses_ends_in_a_new_login(realm: Realm) -> None:
    given = 0

    async def tokens() -> BrokerToken:
        nonlocal given
        given += 1
        key = SigningKey.generate() if given == 2 else realm.active
        return BrokerToken(realm.token(key=key), 1 if given == 1 else 900)

    link = Link(realm.url(ORDER_SERVICE), name="test")
    await link.start(WAIT, tokens=tokens)
    first = link._connection

    async with asyncio.timeout(WAIT):
        while given < 3 or not link.connected:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.02)

    assert link._connection is not first
    await link.close(WAIT)


async def test_a_node_that_runs_learns_a_key_and_unlearns_it(realm: Realm, tmp_path: Path) -> None:
    """By docs/operations-broker-tokens.md: another key under a withdrawn one's id voids that."""
    if _is_debian_13s(realm.broker._server):
        pytest.skip("rabbitmqctl of Debian 13's RabbitMQ 4.0 finds no command of a plugin")
    added, other = SigningKey.generate(), SigningKey.generate()
    assert not await is_let_in(realm, added)

    await add_key(realm, added.kid, added, tmp_path)
    assert await is_let_in(realm, added)

    await add_key(realm, added.kid, other, tmp_path)
    assert not await is_let_in(realm, added)


def _is_debian_13s(server: object) -> bool:
    return isinstance(server, PrivateNode) and server._installation.version[:2] == (4, 0)


async def is_let_in(realm: Realm, key: SigningKey) -> bool:
    return await accepts(realm.url(ORDER_SERVICE, realm.token(key=key)), within=WAIT)


async def add_key(realm: Realm, kid: str, key: SigningKey, folder: Path) -> None:
    file = folder / "key.pem"
    file.write_bytes(key.public.to_pem())
    server = realm.broker._server
    if isinstance(server, BrokerContainer):
        place = "/etc/rabbitmq/key.pem"
        copied = await run("docker", "cp", str(file), f"{server.name}:{place}", within=WAIT)
        assert copied.succeeded, copied.output
        told = await run(
            *("docker", "exec", "--user", "rabbitmq", server.name),
            *("rabbitmqctl", "add_uaa_key", kid, f"--pem-file={place}"),
            within=3 * WAIT,
        )
    else:
        control = server._installation.server.with_name("rabbitmqctl")
        told = await run(
            *(str(control), "-n", NAME, "add_uaa_key", kid, f"--pem-file={file}"),
            within=3 * WAIT,
            env=server._environment(),
        )
    assert told.succeeded, told.output


async def test_the_whole_stack_runs_on_tokens_and_places_an_order(realm: Realm) -> None:
    basket = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]
    stack = LocalStack(realm.state, broker=realm.broker, broker_login="token")

    async with stack, ShopClient(stack.gateway_url) as shop:
        await shop.register("ada", "correct horse battery staple")
        account = await shop.sign_in("ada", "correct horse battery staple")
        async with shop.events(account) as events:
            order_id = await shop.place(account, basket)
            event = await next_event(events, within=WAIT)
        assert event.type == "orders.placed.v1"
        assert await shop.order(account, order_id)


REFUND = "/v1/commands/billing.refund.v1"


async def test_a_service_of_ones_own_runs_on_tokens_and_acts_for_its_caller(realm: Realm) -> None:
    """It hears an event, takes a command from the gateway, and gives one to the order service."""
    stack = LocalStack(realm.state, broker=realm.broker, broker_login="token")
    async with stack, billing(stack), httpx.AsyncClient(base_url=stack.gateway_url) as ada:
        settings = told(realm.state, BILLING.client) or {}
        credentials = {"name": "ada.billed", "password": "correct horse battery staple"}
        (await ada.post("/v1/users", json=credentials)).raise_for_status()
        tokens = (await ada.post("/v1/sessions", json=credentials)).raise_for_status().json()
        ada.headers["authorization"] = f"Bearer {tokens['access_token']}"
        order = {"currency": "EUR", "lines": [{"sku": "tea", "quantity": 1, "unit_price": "4"}]}
        placed = (await ada.post("/v1/orders", json=order)).raise_for_status().json()["id"]

        (await ada.post(REFUND, json={"order_id": placed})).raise_for_status()

        async with asyncio.timeout(2 * WAIT):
            while await _state(ada, placed) != "cancelled":  # noqa: ASYNC110 - one has to ask
                await asyncio.sleep(0.1)

    assert settings["CARNET_BROKER_LOGIN"] == "token"
    assert URL(settings["CARNET_AMQP_URL"]).password is None


async def _state(user: httpx.AsyncClient, order_id: str) -> str | None:
    answer = await user.get(f"/v1/orders/{order_id}")
    return answer.json()["state"] if answer.is_success else None


async def test_the_token_of_a_service_of_ones_own_opens_its_own_queue_and_no_others(
    realm: Realm,
) -> None:
    token = realm.token(BILLING.client)
    connection = await aio_pika.connect(realm.url(BILLING.client, token), timeout=WAIT)

    async with connection:
        async with connection.channel() as channel:
            queue = await channel.get_queue(BILLING.queue.name)
            assert await queue.get(fail=False) is None
        for theirs in ("orders.commands", "orders.commands.dead", BILLING.queue.dead):
            with pytest.raises(ChannelAccessRefused):
                async with connection.channel() as channel:
                    await (await channel.get_queue(theirs)).get(fail=False)
