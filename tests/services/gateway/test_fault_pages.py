"""What people see on the sign-in and device pages while something is away."""

import asyncio

import httpx
import pytest
from starlette.requests import Request

from services.contracts.topology import GATEWAY, USER_SERVICE
from services.gateway.fault_pages import takes_html
from services.local.ports import LOOPBACK
from services.web.edge import MAX_BODY
from services.web.problems import MEDIA_TYPE
from tests.messaging.wire import wire_to
from tests.services.gateway.browser import (
    Page,
    Pkce,
    add_client,
    asked,
    led_back,
    open_page,
    submit,
)
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import PASSWORD, PATIENCE, Stack

BROWSERS = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def browser_at(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE, headers={"Accept": BROWSERS})


def assert_says_so(answer: httpx.Response, code: str, *, what_to_do: str) -> None:
    """A page like the others: what has happened, what to do, and what to tell the operator."""
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "<h1>Not possible at present</h1>" in answer.text
    assert f"<code>{code}</code>" in answer.text
    assert what_to_do in answer.text


async def test_without_the_user_service_people_are_told_so_and_programs_get_a_problem(
    own_stack: OpenStack,
) -> None:
    stack = await own_stack(rpc_deadline=2)
    await add_client(stack)
    pkce = Pkce()
    async with stack.user() as ada, browser_at(stack.url) as browser:
        page = await open_page(browser, asked(pkce))
        device = Page.of(await browser.get("/device"))
        await stack.stop(USER_SERVICE)

        opened = await browser.get("/oauth/authorize", params=asked(pkce))
        sent = await submit(browser, page, name=ada.name, password=PASSWORD)
        typed = await browser.post("/device", data={**device.fields, "user_code": "BCDF-GHJK"})
        asked_by = {
            takes: await browser.get(
                "/oauth/authorize", params=asked(pkce), headers={"Accept": takes}
            )
            for takes in ("*/*", "application/json", "text/html;q=0, */*")
        }

        assert_says_so(opened, "upstream_unavailable", what_to_do='<a href="">Try again</a>')
        for answer in (sent, typed):
            assert_says_so(answer, "upstream_unavailable", what_to_do="send the form once more")
            assert "<a" not in answer.text  # to what was sent, no link leads back
            assert PASSWORD not in answer.text
        for takes, answer in asked_by.items():
            assert (answer.status_code, answer.headers["content-type"]) == (503, MEDIA_TYPE), takes
            assert answer.json()["code"] == "upstream_unavailable"

        await stack.start(USER_SERVICE)
        again = await submit(browser, page, name=ada.name, password=PASSWORD)

        assert led_back(again)["code"]


async def test_without_the_broker_people_are_told_so(stack: Stack) -> None:
    await add_client(stack)
    async with (
        wire_to(stack.amqp_url(GATEWAY)) as wire,
        stack.another_gateway(wire.url, publish_deadline=1, rpc_deadline=2) as other,
        browser_at(other.url) as browser,
    ):
        page = await open_page(browser, asked(Pkce()))
        wire.dead = True
        wire.cut()
        await asyncio.wait_for(wire.refused.wait(), PATIENCE)

        opened = await browser.get("/oauth/authorize", params=asked(Pkce()))
        sent = await submit(browser, page, name="ada", password=PASSWORD)

    assert_says_so(opened, "broker_unavailable", what_to_do='<a href="">Try again</a>')
    assert_says_so(sent, "broker_unavailable", what_to_do="send the form once more")


async def test_a_form_that_is_too_large_is_told_of_on_a_page(stack: Stack) -> None:
    """To the last byte that is read: what is left unread ends a connection at once."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(LOOPBACK, stack.ports[GATEWAY])
        writer.write(
            b"POST /device HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n"
            b"content-type: application/x-www-form-urlencoded\r\n"
            b"transfer-encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY + 1)
        )
        writer.write(b"x" * (MAX_BODY + 1))
        head, _, page = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"content-type: text/html" in head
    assert b"<h1>The body is too large</h1>" in page
    assert b"retry-after" not in head


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ([BROWSERS], True),
        (["application/json", "TEXT/HTML"], True),
        (["text/html ; q=0.1"], True),
        (["text/html; q=0.000"], False),
        (["text/html;level=1;q=0"], False),
        (["*/*"], False),
        (["text/htmlx, application/problem+json"], False),
        ([""], False),
        ([], False),
    ],
    ids=str,
)
def test_html_is_for_those_who_name_it(accept: list[str], taken: bool) -> None:  # noqa: FBT001 - a row
    headers = [(b"accept", each.encode()) for each in accept]

    assert takes_html(Request({"type": "http", "headers": headers})) is taken
