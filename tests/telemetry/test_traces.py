"""One trace from a browser's click to the event that tells of the order, over three processes."""

import json
import re
import secrets
import uuid
from collections.abc import Sequence

import aio_pika
import httpx

from services.contracts.topology import ORDERS_COMMANDS
from services.demo.client import Account, ShopClient, next_event
from services.local.logins import OPERATOR
from tests.telemetry.collector import Told
from tests.telemetry.conftest import Watched

ORDER = {"currency": "EUR", "lines": [{"sku": "tea", "quantity": 1, "unit_price": "2.50"}]}

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5

EXPECTED = {
    ("api-gateway", "POST /v1/orders", SERVER): None,
    ("api-gateway", "users.exchange.v1", CLIENT): "POST /v1/orders",
    ("user-service", "users.exchange.v1", SERVER): "users.exchange.v1",
    ("api-gateway", "send carnet.commands:orders.place", PRODUCER): "POST /v1/orders",
    ("order-service", "process orders.commands", CONSUMER): "send carnet.commands:orders.place",
    ("order-service", "verify", INTERNAL): "process orders.commands",
    ("order-service", "handle orders.place.v1", INTERNAL): "process orders.commands",
    ("order-service", "commit", INTERNAL): "process orders.commands",
    ("order-service", "send carnet.events:orders.placed", PRODUCER): "process orders.commands",
    ("api-gateway", "process carnet.events", CONSUMER): "send carnet.events:orders.placed",
}
"""Each span of an order that is placed, and the name of the one it comes from."""


def _click() -> tuple[str, str]:
    """A new trace's id, and the span of the click that it begins with."""
    return secrets.token_hex(16), secrets.token_hex(8)


async def _place(
    watched: Watched, account: Account, traceparent: str, order: object = ORDER
) -> httpx.Response:
    headers = {"authorization": f"Bearer {account.access_token}", "traceparent": traceparent}
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        return await client.post("/v1/orders", json=order, headers=headers)


def _whole(spans: Sequence[Told]) -> bool:
    return len(spans) >= len(EXPECTED)


async def test_a_click_and_the_event_it_leads_to_are_one_trace(
    watched: Watched, shop: ShopClient, account: Account
) -> None:
    trace, click = _click()
    async with shop.events(account) as events:
        answer = await _place(watched, account, f"00-{trace}-{click}-01")
        assert answer.status_code == 202
        await next_event(events, within=20)

    spans = watched.collector.trace(trace, _whole)

    names = {span.id: span.name for span in spans}
    assert {
        (span.service, span.name, span.kind): names.get(span.parent) for span in spans
    } == EXPECTED
    (first,) = (span for span in spans if span.name == "POST /v1/orders")
    assert first.parent == click
    assert len(spans) == len(EXPECTED) >= 8
    assert all(span.start <= span.end and not span.failed for span in spans)


async def test_spans_say_what_the_semantic_conventions_want(
    watched: Watched, account: Account
) -> None:
    trace, click = _click()
    order_id = (await _place(watched, account, f"00-{trace}-{click}-01")).json()["id"]

    told = {span.name: span for span in watched.collector.trace(trace, _whole)}

    assert told["POST /v1/orders"].attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/orders",
        "http.response.status_code": 202,
        "url.scheme": "http",
    }
    sent = told["send carnet.commands:orders.place"].attributes
    assert sent["messaging.system"] == "rabbitmq"
    assert sent["messaging.operation.type"] == "send"
    assert sent["messaging.destination.name"] == "carnet.commands:orders.place"
    assert sent["messaging.rabbitmq.destination.routing_key"] == "orders.place"
    processed = told["process orders.commands"].attributes
    assert processed["messaging.operation.type"] == "process"
    assert processed["messaging.message.id"] == order_id
    assert processed["messaging.client.id"] == "api-gateway"
    assert told["users.exchange.v1"].attributes["rpc.method"] == "users.exchange.v1"


async def test_no_span_holds_a_token_a_password_or_what_somebody_typed(
    watched: Watched, account: Account
) -> None:
    """Nor does anything else that is sent to the collector: whoever reads traces is no party."""
    trace, click = _click()
    typed = f"sku-{secrets.token_hex(8)}"
    order = {"currency": "EUR", "lines": [{"sku": typed, "quantity": 1, "unit_price": "1"}]}
    await _place(watched, account, f"00-{trace}-{click}-01", order)
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        path, headers = (
            f"/{typed}?token={account.access_token}",
            {"traceparent": f"00-{trace}-{click}-01"},
        )
        await client.get(path, headers=headers)

    watched.collector.trace(trace, lambda spans: len(spans) > len(EXPECTED))

    told = b"".join(watched.collector.bodies)
    for secret in (account.access_token, account.refresh_token, account.password, typed):
        assert secret.encode() not in told
    assert re.search(rb"eyJ[A-Za-z0-9_-]{10}", told) is None  # how each JSON header begins


async def test_a_client_that_does_not_want_to_be_traced_is_not(
    watched: Watched, account: Account
) -> None:
    """Whether a trace is told of is for whoever begins it to say (sampling by parent)."""
    unwanted, wanted = _click(), _click()
    await _place(watched, account, f"00-{unwanted[0]}-{unwanted[1]}-00")
    await _place(watched, account, f"00-{wanted[0]}-{wanted[1]}-01")

    watched.collector.trace(wanted[0], lambda spans: len(spans) >= len(EXPECTED) - 2)

    assert watched.collector.trace(unwanted[0], lambda _: True) == []


async def _cancel(watched: Watched, account: Account, order_id: str, traceparent: str) -> None:
    headers = {"authorization": f"Bearer {account.access_token}", "traceparent": traceparent}
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        answer = await client.post(f"/v1/orders/{order_id}/cancel", headers=headers)
        assert answer.status_code == 202


def _refused(spans: Sequence[Told]) -> bool:
    """The gateway and the order service have both told of it, each in its own time."""
    names = {span.name for span in spans}
    return {"process orders.commands", "send carnet.commands:orders.cancel"} <= names


async def test_a_refused_command_shows_in_its_trace_and_in_the_log(
    watched: Watched, shop: ShopClient, account: Account, stranger: Account
) -> None:
    """Somebody cancels an order that is not theirs; it differs from a good case in that alone."""
    trace, click = _click()
    order_id = await shop.place(account, ORDER["lines"])  # type: ignore[arg-type]
    await _cancel(watched, stranger, order_id, f"00-{trace}-{click}-01")

    told = {span.name: span for span in watched.collector.trace(trace, _refused)}

    processed = told["process orders.commands"]
    assert processed.failed
    assert processed.attributes["error.type"] == "not_owner"
    assert processed.attributes["carnet.outcome"] == "dead"
    assert not told["verify"].failed
    assert told["handle orders.cancel.v1"].failed
    log = watched.stack.services["orders"].log.read_text()
    (line,) = (json.loads(line) for line in log.splitlines() if trace in line)
    assert line["message"] == "command_dead_lettered"
    assert line["code"] == "not_owner"
    assert (line["trace_id"], line["span_id"]) == (trace, processed.id)


async def test_a_dead_letter_keeps_the_trace_that_it_came_with(
    watched: Watched, shop: ShopClient, account: Account, stranger: Account
) -> None:
    """A copy is the message as it was: it names who sent it, not who set it aside."""
    trace, click = _click()
    order_id = await shop.place(account, ORDER["lines"])  # type: ignore[arg-type]
    await _cancel(watched, stranger, order_id, f"00-{trace}-{click}-01")
    told = {span.name: span for span in watched.collector.trace(trace, _refused)}

    letters = []
    connection = await aio_pika.connect(watched.stack.amqp_url(OPERATOR))
    async with connection, connection.channel() as channel:
        queue = await channel.get_queue(ORDERS_COMMANDS.dead)
        while letter := await queue.get(fail=False):
            letters.append(str(letter.headers["traceparent"]))

    sent = told["send carnet.commands:orders.cancel"].id
    assert f"00-{trace}-{sent}-01" in letters


async def test_a_command_that_waits_is_tried_again_in_its_trace(
    watched: Watched, account: Account
) -> None:
    """A cancel that has overtaken its order: each attempt is a span below the same `send`."""
    trace, click = _click()
    await _cancel(watched, account, str(uuid.uuid4()), f"00-{trace}-{click}-01")

    def twice(spans: Sequence[Told]) -> bool:
        return [span.name for span in spans].count("process orders.commands") > 1

    spans = watched.collector.trace(trace, twice)

    (sent,) = (span for span in spans if span.name.startswith("send "))
    attempts = [span for span in spans if span.name == "process orders.commands"]
    assert {span.parent for span in attempts} == {sent.id}
    assert {span.attributes["carnet.outcome"] for span in attempts} == {"retried"}


async def test_a_request_that_is_refused_names_its_route_and_not_its_address(
    watched: Watched, account: Account
) -> None:
    trace, click = _click()
    headers = {"traceparent": f"00-{trace}-{click}-01"}
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        await client.get(f"/v1/orders/{account.name}", headers=headers)

    (span,) = watched.collector.trace(trace, bool)

    assert span.name == "GET /v1/orders/{order_id}"
    assert span.attributes["http.response.status_code"] == 401
