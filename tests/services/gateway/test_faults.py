"""When something is away: never a 202 without the broker's confirm, never a hang, one order."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import httpx
import pytest
from pamqp.common import FieldTable
from sqlalchemy import text

from messaging.database import open_database
from services.contracts.topology import GATEWAY, ORDER_SERVICE, PLACE_ORDER, USER_SERVICE
from services.errors import PortTakenError, StartError
from services.gateway.idempotency import message_id_of
from services.gateway.service import serve
from services.gateway.settings import GatewaySettings
from tests.messaging.wire import wire_to
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PASSWORD, PATIENCE, TEA, Stack, User


def assert_repeatable(answer: httpx.Response, user: User, code: str) -> str:
    """It says what is known, which order it is, and the key to go on with; the key."""
    problem = answer.json()
    key = answer.headers["idempotency-key"]
    assert (answer.status_code, problem["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) > 0
    assert problem["idempotency_key"] == key
    assert problem["order_id"] == message_id_of("api-gateway", user.sub, key)
    return key


async def test_a_command_that_nobody_takes_is_not_accepted(bare_stack: OpenStack) -> None:
    stack = await bare_stack(USER_SERVICE, GATEWAY)
    async with stack.user() as ada:
        refused = await ada.place()
        key = assert_repeatable(refused, ada, "unroutable")

        await stack.start(ORDER_SERVICE)
        accepted = await ada.place(key=key)

        assert accepted.status_code == 202
        assert accepted.json()["id"] == refused.json()["order_id"]
        await ada.order(accepted.json()["id"])
        assert await stack.stored_orders(ada.sub) == 1


async def test_orders_are_accepted_while_the_order_service_is_away(own_stack: OpenStack) -> None:
    stack = await own_stack(rpc_deadline=3)
    async with stack.user() as ada:
        await stack.stop(ORDER_SERVICE)

        accepted = await ada.place()
        seen = await ada.http.get(accepted.headers["location"])

        assert accepted.status_code == 202
        assert (seen.status_code, seen.json()["code"]) == (503, "upstream_unavailable")
        await stack.start(ORDER_SERVICE)
        assert (await ada.order(accepted.json()["id"]))["state"] == "placed"


async def test_orders_are_accepted_while_the_user_service_is_away(own_stack: OpenStack) -> None:
    """Whoever has a carnet goes on, until the trust feed has been silent for too long."""
    stack = await own_stack(rpc_deadline=3, trust_max_silence=60)
    async with stack.user() as ada:
        assert (await ada.place()).status_code == 202
        await stack.stop(USER_SERVICE)

        placed = await ada.place()
        credentials = {"name": ada.name, "password": PASSWORD}
        signed_in = await ada.http.post("/v1/sessions", json=credentials)
        del ada.http.headers["Authorization"]
        grant = {"grant_type": "refresh_token", "refresh_token": ada.tokens["refresh_token"]}
        refreshed = await ada.http.post("/oauth/token", data=grant)

    assert placed.status_code == 202
    for answer in (signed_in, refreshed):
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
        assert answer.headers["retry-after"]


async def test_a_first_order_without_the_user_service_can_be_repeated(
    own_stack: OpenStack,
) -> None:
    stack = await own_stack(rpc_deadline=3, trust_max_silence=60)
    async with stack.user() as ada:
        await stack.stop(USER_SERVICE)
        key = assert_repeatable(await ada.place(), ada, "upstream_unavailable")
        await stack.start(USER_SERVICE)

        assert (await ada.place(key=key)).status_code == 202


async def test_without_the_broker_nothing_is_accepted_and_nothing_hangs(
    stack: Stack, ada: User
) -> None:
    async with (
        wire_to(stack.amqp_url(GATEWAY)) as wire,
        stack.another_gateway(wire.url, publish_deadline=1, rpc_deadline=3) as other,
        httpx.AsyncClient(base_url=other.url, headers=ada.http.headers, timeout=PATIENCE) as http,
    ):
        cached = await http.post("/v1/orders", json=TEA)
        wire.dead = True
        wire.cut()

        placed = await http.post("/v1/orders", json=TEA)
        seen = await http.get("/v1/orders")
        signed_in = await http.post("/v1/sessions", json={"name": "ada", "password": "x"})
        live, ready = await http.get("/health/live"), await http.get("/health/ready")

        assert cached.status_code == 202
        key = assert_repeatable(placed, ada, "broker_unavailable")
        for answer in (seen, signed_in):
            assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
        assert live.status_code == 200
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert ready.json()["checks"]["broker"] is False

        wire.dead = False
        await other.ready()
        again = await http.post("/v1/orders", json=TEA, headers={"Idempotency-Key": key})

        assert again.status_code == 202
        assert again.json()["id"] == placed.json()["order_id"]
    await ada.order(again.json()["id"])
    await ada.order(cached.json()["id"])
    assert await stack.stored_orders(ada.sub) == 2


async def test_a_flood_while_the_broker_is_away_is_answered_and_not_kept(
    stack: Stack, ada: User
) -> None:
    """Five may wait for the broker until their deadline; everyone else is told at once."""
    async with (
        wire_to(stack.amqp_url(GATEWAY)) as wire,
        stack.another_gateway(
            wire.url, publish_deadline=8, publish_backlog=5, trust_max_silence=60
        ) as other,
        httpx.AsyncClient(base_url=other.url, headers=ada.http.headers, timeout=PATIENCE) as http,
    ):
        assert (await http.post("/v1/orders", json=TEA)).status_code == 202
        wire.dead = True
        wire.cut()
        await asyncio.wait_for(wire.refused.wait(), PATIENCE)

        answers = await asyncio.gather(*(http.post("/v1/orders", json=TEA) for _ in range(40)))

        codes = Counter(answer.json()["code"] for answer in answers)
        assert codes == {"broker_unavailable": 5, "backlog_full": 35}
        for answer in answers:
            assert_repeatable(answer, ada, answer.json()["code"])


@asynccontextmanager
async def full_queue(amqp_url: str) -> AsyncIterator[None]:
    """A queue beside the order service's that takes nothing, so that the broker says no."""
    arguments: FieldTable = {"x-max-length": 0, "x-overflow": "reject-publish"}
    connection = await aio_pika.connect(amqp_url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue("full", exclusive=True, arguments=arguments)
        await queue.bind(PLACE_ORDER.exchange, PLACE_ORDER.routing_key)
        yield


async def test_what_the_broker_did_not_confirm_is_unknown_and_repeated_it_is_one_order(
    bare_stack: OpenStack, amqp_url: str
) -> None:
    """The broker said no for one queue, while the other one has the order already."""
    stack = await bare_stack()
    async with stack.user() as ada:
        async with full_queue(amqp_url):
            unknown = await ada.place()
        key = assert_repeatable(unknown, ada, "unconfirmed")
        await ada.order(unknown.json()["order_id"])

        again = await ada.place(key=key)
        last = await ada.place()

        assert again.status_code == 202
        await ada.order(last.json()["id"])
        assert await stack.stored_orders(ada.sub) == 2


async def test_without_its_database_nothing_is_accepted(own_stack: OpenStack) -> None:
    stack = await own_stack()
    database = open_database(f"sqlite+aiosqlite:///{stack.folder / GATEWAY}.db")
    async with stack.user() as ada:
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))  # holds the lock of the one writer
            answer = await ada.place()
        await database.close()

        assert_repeatable(answer, ada, "store_unavailable")
        assert await stack.stored_orders(ada.sub) == 0


async def test_a_request_in_flight_is_finished_before_the_gateway_ends(
    own_stack: OpenStack,
) -> None:
    stack = await own_stack()
    body = json.dumps(TEA).encode()
    async with stack.user() as ada, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports[GATEWAY])
        writer.write(
            b"POST /v1/orders HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\nauthorization: %s\r\n\r\n"
            % (len(body), ada.http.headers["Authorization"].encode())
        )
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")  # the route waits for the body
        stopping = asyncio.create_task(stack.stop(GATEWAY))
        while await is_open(stack.ports[GATEWAY]):
            pass
        writer.write(body)

        answer = await reader.read()
        await stopping
        writer.close()

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert b"connection: close" in answer


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True


async def test_a_port_that_is_taken_is_said_in_one_line(stack: Stack) -> None:
    settings = stack.settings(GatewaySettings, GATEWAY)
    assert isinstance(settings, GatewaySettings)

    taken = pytest.RaisesExc(PortTakenError, match=str(settings.port))

    with pytest.RaisesGroup(taken):
        await serve(settings, asyncio.Event())


async def test_keys_of_another_service_are_said_in_one_line(stack: Stack) -> None:
    settings = GatewaySettings.model_validate(
        {
            **stack.settings(GatewaySettings, GATEWAY).model_dump(),
            "keys": stack.folder / "keys" / ORDER_SERVICE,
        }
    )

    with pytest.raises(StartError, match="api-gateway"):
        await serve(settings, asyncio.Event())
