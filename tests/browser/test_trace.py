"""One trace from the visitor's click to the event: by the id that the page shows."""

import asyncio
import re
import secrets
from collections.abc import Sequence
from typing import Final

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from playwright.async_api import Locator, Request, expect

from tests.browser.visitor import Visitor
from tests.telemetry.collector import Collector, Told
from tests.telemetry.test_traces import EXPECTED

SHARE: Final = 0.3

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def shown(card: Locator) -> str:
    """The trace id at a journey's card."""
    found = await card.locator(".trace code").text_content()
    assert found is not None
    assert re.fullmatch("[0-9a-f]{32}", found)
    return found


def orders_sent(visitor: Visitor) -> list[Request]:
    """The requests by which orders are placed, from now on."""
    sent: list[Request] = []

    def hear(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/orders"):
            sent.append(request)

    visitor.page.on("request", hear)
    return sent


async def spans_of(collector: Collector, trace: str, *names: str, many: int = 0) -> list[Told]:
    """The spans of a trace, once these, and so many, are there."""

    def told(spans: Sequence[Told]) -> bool:
        return len(spans) >= many and set(names) <= {span.name for span in spans}

    return await asyncio.to_thread(collector.trace, trace, told)


async def test_the_id_that_the_page_shows_is_that_of_all_spans_of_the_order(
    visitor: Visitor, collector: Collector
) -> None:
    sent = orders_sent(visitor)
    await visitor.register()
    card = await visitor.place()
    trace = await shown(card)

    spans = await spans_of(collector, trace, many=len(EXPECTED))

    names = {span.id: span.name for span in spans}
    assert {
        (span.service, span.name, span.kind): names.get(span.parent) for span in spans
    } == EXPECTED
    assert len(spans) >= 8
    (click,) = sent
    (first,) = (span for span in spans if span.name == "POST /v1/orders")
    assert click.headers["traceparent"] == f"00-{trace}-{first.parent}-01"


async def test_everything_that_a_visitor_sends_on_its_way_is_a_trace_of_its_own(
    visitor: Visitor, collector: Collector
) -> None:
    await visitor.register()
    placed = await shown(await visitor.place())
    await visitor.button("Cancel this order", visitor.journey()).click()
    card = visitor.journey()
    await expect(card.locator(".stamp")).to_have_text("cancelled")
    cancelled = await shown(card)
    await visitor.tab("Forge it")
    forged = await shown(await visitor.forge("Change the body"))

    assert len({placed, cancelled, forged}) == 3
    await spans_of(collector, cancelled, "handle orders.cancel.v1", "process carnet.events")
    spans = await spans_of(collector, forged, "process orders.commands")
    (refused,) = (span for span in spans if span.name == "process orders.commands")
    assert refused.attributes["error.type"] == "seal_mismatch"


async def test_the_id_can_be_copied(visitor: Visitor) -> None:
    await visitor.register()
    card = await visitor.place()
    trace = await shown(card)
    await visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    await visitor.button("Copy the trace id", card).click()

    await expect(visitor.page.locator("#status")).to_have_text("The trace id is copied.")
    assert await visitor.page.evaluate("navigator.clipboard.readText()") == trace


async def test_without_a_clipboard_the_id_is_selected(visitor: Visitor) -> None:
    """Browsers give it only to pages that came by https, or from this machine."""
    await visitor.register()
    card = await visitor.place()
    await visitor.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")

    await visitor.button("Copy the trace id", card).click()

    await expect(visitor.page.locator("#status")).to_have_text("The trace id is selected.")
    assert await visitor.page.evaluate("getSelection().toString()") == await shown(card)


async def test_of_clicks_as_many_are_traced_as_the_gateways_own_sampler_would_choose(
    visitor: Visitor,
) -> None:
    ids = [secrets.token_hex(16) for _ in range(500)]
    sampler = TraceIdRatioBased(SHARE)

    chosen = await visitor.page.evaluate(
        """async ([ids, share]) => {
          const { isTold } = await import("/page/trace.js");
          return ids.map((id) => isTold(id, share));
        }""",
        [ids, SHARE],
    )

    decisions = [sampler.should_sample(None, int(each, 16), "click").decision for each in ids]
    assert chosen == [decision is not Decision.DROP for decision in decisions]
    assert 0 < sum(chosen) < len(ids)


async def test_a_click_that_is_not_chosen_is_told_of_nowhere_and_shows_no_id(
    visitor: Visitor, collector: Collector
) -> None:
    """As where the sampler chooses none: the page then says so with the flag."""
    sent = orders_sent(visitor)
    await visitor.register()
    await visitor.page.evaluate("import('/page/trace.js').then(({ traced }) => traced(0))")

    card = await visitor.place()

    await expect(card.locator(".trace")).to_have_count(0)
    (click,) = sent
    assert click.headers["traceparent"].endswith("-00")
    trace = click.headers["traceparent"].split("-")[1]
    await spans_of(collector, await _another(visitor), "POST /v1/orders", "process carnet.events")
    assert collector.trace(trace, lambda _: True) == []


async def _another(visitor: Visitor) -> str:
    """An order after that, which is traced; its trace's id."""
    await visitor.page.evaluate("import('/page/trace.js').then(({ traced }) => traced(1))")
    return await shown(await visitor.place())
