"""What each service tells Prometheus, after it has done something of everything."""

import asyncio
import math
import os
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from messaging.metrics import MAX_SERIES, OTHER, Metrics
from services.demo.client import Account, ShopClient, next_event
from services.telemetry.exposition import CONTENT_TYPE, exposition
from services.web.observing import METHODS
from tests.telemetry.conftest import Watched
from tests.telemetry.expressions import labels_of
from tests.telemetry.tools import ROOT, run_with

BASKET: Final = [{"sku": "tea", "quantity": 1, "unit_price": "2.50"}]
DOCUMENT: Final = ROOT / "docs" / "telemetry.md"
BEGIN, END = "<!-- begin: metrics -->\n", "<!-- end: metrics -->"

Value = Callable[[str, str, dict[str, str]], Awaitable[float]]


@pytest_asyncio.fixture
async def value(watched: Watched) -> Value:
    """The sum of the samples of a service with this name and these labels."""

    async def value(service: str, name: str, labels: dict[str, str]) -> float:
        scraped = await watched.scrape(service)
        return math.fsum(
            sample.value
            for family in text_string_to_metric_families(scraped)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    return value


async def _until(holds: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    """Numbers are told when they are asked for, so they are asked for until they say it."""
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110 - nobody tells, one has to ask
            await asyncio.sleep(0.1)


async def test_a_command_is_counted_by_what_became_of_it(
    shop: ShopClient, account: Account, value: Value
) -> None:
    labels = {"type": "orders.place.v1", "outcome": "done"}
    before = await value("orders", "carnet_messages_total", labels)
    timed = await value("orders", "carnet_message_verify_seconds_count", {})
    async with shop.events(account) as events:
        await shop.place(account, BASKET)
        await next_event(events, within=20)

    async def counted() -> bool:
        return await value("orders", "carnet_messages_total", labels) == before + 1

    await _until(counted)
    for name in ("verify", "wait", "handle"):
        assert await value("orders", f"carnet_message_{name}_seconds_count", {}) >= timed + 1
    assert await value("orders", "carnet_outbox_messages_total", {"result": "published"}) > 0
    handled = {"type": "orders.placed.v1", "result": "handled"}
    assert await value("gateway", "carnet_events_total", handled) > 0


async def test_a_refused_command_is_counted_by_its_reason(
    shop: ShopClient, account: Account, stranger: Account, value: Value
) -> None:
    labels = {"outcome": "dead", "reason": "not_owner", "type": "orders.cancel.v1"}
    before = await value("orders", "carnet_messages_total", labels)
    order_id = await shop.place(account, BASKET)
    await shop.cancel(stranger, order_id)

    async def counted() -> bool:
        return await value("orders", "carnet_messages_total", labels) == before + 1

    await _until(counted)


async def test_a_retry_is_counted(shop: ShopClient, account: Account, value: Value) -> None:
    """A cancel of an order that is not there, yet."""
    labels = {"outcome": "retried", "type": "orders.cancel.v1"}
    before = await value("orders", "carnet_messages_total", labels)
    await shop.cancel(account, str(uuid.uuid4()))

    async def counted() -> bool:
        return await value("orders", "carnet_messages_total", labels) > before

    await _until(counted)


async def test_a_call_that_is_refused_is_counted_by_its_code(
    watched: Watched, account: Account, value: Value
) -> None:
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        wrong = {"name": account.name, "password": "not the password"}
        answer = await client.post("/v1/sessions", json=wrong)

    assert answer.status_code == 401
    labels = {"rpc_method": "users.issue.v1", "error_type": "invalid_credentials"}
    assert await value("gateway", "rpc_client_call_duration_seconds_count", labels) >= 1
    assert await value("users", "rpc_server_call_duration_seconds_count", labels) >= 1


async def test_a_revocation_is_counted_with_its_lag(
    watched: Watched, account: Account, value: Value
) -> None:
    before = await value("orders", "carnet_revocation_lag_seconds_count", {})
    in_force = await value("orders", "carnet_trust_revocations", {})
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        answer = await client.delete(
            "/v1/sessions/current", headers={"authorization": f"Bearer {account.access_token}"}
        )
        assert answer.is_success

    async def counted() -> bool:
        return await value("orders", "carnet_revocation_lag_seconds_count", {}) > before

    await _until(counted)
    assert await value("orders", "carnet_trust_revocations", {}) > in_force


async def test_trust_and_tokens_and_calls_are_told_of(
    shop: ShopClient, account: Account, value: Value
) -> None:
    for _ in range(3):
        await shop.place(account, BASKET)

    for service in ("gateway", "orders"):
        assert 0 <= await value(service, "carnet_trust_silence_seconds", {}) < 10
        assert await value(service, "carnet_trust_fresh", {}) == 1
    assert await value("gateway", "carnet_known_tokens_total", {"result": "hit"}) >= 2
    asked = {"rpc_method": "users.exchange.v1", "error_type": ""}
    assert await value("gateway", "rpc_client_call_duration_seconds_count", asked) >= 1
    assert await value("users", "rpc_server_call_duration_seconds_count", asked) >= 1


async def test_requests_are_counted_by_route_and_status_and_never_by_address(
    watched: Watched, value: Value
) -> None:
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        for path in ("/made-up-1", "/made-up-2", "/v1/orders/made-up-3"):
            await client.get(path)
        await client.request("PROPFIND", "/v1/orders")

    name = "http_server_request_duration_seconds_count"
    assert await value("gateway", name, {"http_route": "", "http_response_status_code": "404"}) >= 2
    of_order = {"http_route": "/v1/orders/{order_id}", "http_response_status_code": "401"}
    assert await value("gateway", name, of_order) >= 1
    assert await value("gateway", name, {"http_request_method": "_OTHER"}) >= 1
    scraped = await watched.scrape("gateway")
    assert "made-up" not in scraped
    assert "PROPFIND" not in scraped


async def test_who_tries_each_method_everywhere_takes_no_place_from_others(
    watched: Watched, value: Value
) -> None:
    """Of places there are so many; what finds none is told under another name, faults too."""
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        for path in paths:
            for method in sorted(METHODS - {"GET", "HEAD", "POST", "CONNECT"}):
                await client.request(method, path.replace("{", "").replace("}", ""))

    name = "http_server_request_duration_seconds_count"
    scraped = await watched.scrape("gateway")
    refused = [line for line in scraped.splitlines() if name in line and '_code="405"' in line]
    assert len(refused) == 1
    assert 'http_route=""' in refused[0]
    assert await value("gateway", name, {"http_response_status_code": OTHER}) == 0


async def test_no_label_is_of_a_user_or_a_message(
    watched: Watched, shop: ShopClient, account: Account
) -> None:
    order_id = await shop.place(account, BASKET)

    for service in watched.addresses:
        scraped = await watched.scrape(service)
        for told in (account.name, order_id, account.access_token):
            assert told not in scraped
        assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", scraped) is None


async def test_the_gateway_tells_nothing_at_its_public_address(watched: Watched) -> None:
    async with httpx.AsyncClient(base_url=watched.stack.gateway_url, trust_env=False) as client:
        answer = await client.get("/metrics")

    assert answer.status_code == 404


async def test_what_is_told_is_in_prometheus_form(watched: Watched) -> None:
    for service, address in watched.addresses.items():
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{address}/metrics")
        assert answer.headers["content-type"] == CONTENT_TYPE, service
        assert list(text_string_to_metric_families(answer.text))


async def test_names_and_help_are_as_prometheus_wants_them(watched: Watched) -> None:
    for service in watched.addresses:
        complaints = run_with("promtool", await watched.scrape(service), "check", "metrics")
        assert complaints == ""


async def test_the_document_lists_every_metric_and_no_other(
    watched: Watched, shop: ShopClient, account: Account
) -> None:
    """`CARNET_WRITE_DOCS=1` writes the table instead."""
    await shop.orders(account)
    async with shop.events(account) as events:
        await shop.place(account, BASKET)
        await next_event(events, within=20)
    table = await _table(watched)
    before, rest = _read().split(BEGIN)
    written, after = rest.split(END)
    if os.environ.get("CARNET_WRITE_DOCS"):
        _write(before + BEGIN + table + END + after)
        return
    assert written == table


def _read() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def _write(text: str) -> None:
    DOCUMENT.write_text(text, encoding="utf-8")


async def _table(watched: Watched) -> str:
    """By name: its kind, its labels, who tells it, and what it says."""
    rows: dict[str, tuple[str, set[str], list[str], str]] = {}
    for service in ("users", "orders", "gateway"):
        scraped = await watched.scrape(service)
        labels = labels_of(scraped)
        for family in text_string_to_metric_families(scraped):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            own = set().union(*(labels.get(f"{name}{end}", set()) for end in ("", "_count")))
            _, known, services, _ = rows.setdefault(
                name, (family.type, set(), [], family.documentation)
            )
            known.update(own)
            services.append(service)
    lines = ["| metric | kind | labels | of | says |", "|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in sorted(labels))} "
        f"| {'all' if len(services) == 3 else ', '.join(services)} | {text} |"
        for name, (kind, labels, services, text) in sorted(rows.items())
    ]
    return "\n".join(lines) + "\n"


def test_series_are_bounded_whatever_a_label_is_made_of() -> None:
    family = Metrics().counter("made_total", "Made up.", labels=("what",))

    for number in range(MAX_SERIES + 100):
        family.of(str(number)).add()

    assert len(family.series) == MAX_SERIES + 1
    assert family.of(OTHER).value == 100


async def test_a_label_can_say_nothing_but_its_value() -> None:
    """Quotes, backslashes and new lines in it neither end it nor begin another sample."""
    metrics, made_up = Metrics(), 'a"} 1\nforged{x="\\'
    metrics.counter("made_total", "Made up.", labels=("what",)).of(made_up).add()

    (family,) = text_string_to_metric_families(await exposition(metrics))

    assert [(s.labels, s.value) for s in family.samples] == [({"what": made_up}, 1.0)]


async def test_buckets_hold_all_that_took_no_longer() -> None:
    metrics = Metrics()
    histogram = metrics.histogram("made_seconds", "Made up.", bounds=(0.1, 1.0)).of()
    histogram.observe(0.1, times=2)
    histogram.observe(0.5)
    histogram.observe(7)
    histogram.observe(-1)  # clocks that differ

    (family,) = text_string_to_metric_families(await exposition(metrics))

    told = {(s.name, s.labels.get("le")): s.value for s in family.samples}
    assert told == {
        ("made_seconds_bucket", "0.1"): 3,
        ("made_seconds_bucket", "1"): 4,
        ("made_seconds_bucket", "+Inf"): 5,
        ("made_seconds_sum", None): pytest.approx(7.7),
        ("made_seconds_count", None): 5,
    }


async def test_what_takes_too_long_to_look_up_holds_up_nothing_else() -> None:
    """A database that hangs is a reason to look at the other figures."""
    metrics, cancelled = Metrics(), asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    metrics.before(hang)

    async with asyncio.timeout(5):
        await metrics.refresh(within=0.01)

    assert cancelled.is_set()


async def test_what_cannot_be_looked_up_is_left_out_and_the_rest_is_told() -> None:
    metrics = Metrics()
    metrics.gauge("looked_up", "Made up.").of().follow(lambda: None)
    metrics.gauge("counted", "Made up.").of().follow(lambda: 3)

    async def fail() -> None:
        raise ConnectionError

    metrics.before(fail)

    assert [
        (sample.name, sample.value)
        for family in text_string_to_metric_families(await exposition(metrics))
        for sample in family.samples
    ] == [("counted", 3)]
