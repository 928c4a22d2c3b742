"""The page, in a real browser, on the real system: every button, every view, every screen."""

import re

import pytest
from playwright.async_api import Locator, expect

from services.local.stack import LocalStack
from tests.browser.conftest import Visit
from tests.browser.visitor import SCREENS, Screen, Visitor

FORGED = {
    "Change the body": ("seal_mismatch", "no. 9: seal"),
    "Move the token": ("seal_mismatch", "no. 9: seal"),
    "Wrong audience": ("wrong_audience", "no. 8: audience"),
    "Let it expire": ("too_old", "no. 10: time"),
    "Sign it yourself": ("unknown_key", "no. 5: key"),
}
"""Each forgery, with the code that it must get, and the check that must stop it."""

PAGE_OF_ORDERS = 8
TIME = re.compile(r"^[\d.]+ (µs|ms)$")

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.mark.parametrize("screen", SCREENS, ids=str)
async def test_every_button_of_the_page_does_its_work(visit: Visit, screen: Screen) -> None:
    visitor = await visit(screen)
    await visitor.look("welcome")
    await visitor.register()
    await visitor.look("desk")

    await _order_and_read(visitor)
    await _cancel(visitor)
    await _fill_the_list(visitor)
    await _forge(visitor)
    await _read_tokens(visitor)
    await _sign_out_and_in(visitor)
    await _revoke_oneself(visitor)

    assert await visitor.unused_buttons() == set()


async def _order_and_read(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.button("Add a line").click()
    await page.get_by_label("What", exact=True).last.select_option("biscuits")
    await page.get_by_label("How many").last.fill("3")
    await expect(page.get_by_label("Total")).to_have_text("€12.45")
    await visitor.button("Add a line").click()
    await visitor.button("Remove line 3").click()

    card = await visitor.place()

    await expect(card.locator(".stamp")).to_have_text("placed")
    await expect(card.get_by_role("heading")).to_have_text(
        re.compile("Order: 1 . tea-earl-grey, 3 . biscuits")
    )
    await expect(card.locator(".rail li[data-state=passed]")).to_have_count(5)
    await expect(card.locator(".check-list li[data-verdict=passed]")).to_have_count(13)
    await expect(card.locator(".check-list li").nth(5).locator(".time")).to_have_text(TIME)
    await visitor.look("placed")

    await visitor.button("Copy the trace id", card).click()
    await expect(page.locator("#status")).to_have_text(re.compile("The trace id is "))
    await visitor.button("Open the carnet", card).click()
    dialog = page.get_by_role("dialog", name="The carnet of this message")
    await expect(dialog.get_by_role("row", name="aud order-service")).to_be_visible()
    await expect(dialog.get_by_role("row", name='act {"sub":"api-gateway"}')).to_be_visible()
    await expect(dialog.get_by_text("RFC 8693 §4.1")).to_be_visible()
    await visitor.look("carnet")
    await visitor.button("Close", dialog).click()
    await visitor.button("Open the seal", card).click()
    dialog = page.get_by_role("dialog", name="The seal of this message")
    await expect(dialog.get_by_role("row", name="rk orders.place")).to_be_visible()
    await visitor.look("seal")
    await visitor.button("Close", dialog).click()


async def _cancel(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.button("Cancel this order", visitor.journey()).click()
    card = visitor.journey()
    await expect(card.locator(".stamp")).to_have_text("cancelled")
    await expect(page.locator("#orders .state").first).to_have_text("cancelled")
    await visitor.look("cancelled")

    await visitor.place()
    await page.locator("#orders li").first.get_by_text("Cancel", exact=True).click()
    await expect(visitor.journey().locator(".stamp")).to_have_text("cancelled")

    await page.get_by_label("What", exact=True).first.select_option("grand-piano")
    await page.get_by_label("How many").first.fill("6")
    card = await visitor.place()
    await expect(card.locator(".stamp")).to_have_text("refused")
    await expect(card.get_by_text("is above what we take unasked")).to_be_visible()
    await page.get_by_label("How many").first.fill("1")


async def _fill_the_list(visitor: Visitor) -> None:
    orders = visitor.page.locator("#orders li")
    while await visitor.button("Show more").count() == 0:
        await visitor.place()
        await expect(orders.first.locator(".state")).to_have_text("placed")
    await expect(orders).to_have_count(PAGE_OF_ORDERS)
    await visitor.button("Show more").click()
    await expect(orders).not_to_have_count(PAGE_OF_ORDERS)


async def _forge(visitor: Visitor) -> None:
    await visitor.tab("Forge it")
    await visitor.look("forge")
    for title, (code, check) in FORGED.items():
        card = await visitor.forge(title)
        await expect(card.locator(".stamp")).to_have_text(code)
        await expect(card.locator(".rail")).to_contain_text(check)
        refused = card.locator(".check-list li[data-verdict=refused]")
        await expect(refused).to_contain_text(code)
        await _nothing_stored(card)
    await visitor.look("forged")
    card = await visitor.forge("Leave it alone")
    await expect(card.locator(".stamp")).to_have_text("taken")
    await card.get_by_text("The body as it was sent").click()
    await expect(card.locator("pre")).to_contain_text("tea-earl-grey")


async def _nothing_stored(card: Locator) -> None:
    await expect(card.locator(".rail li").nth(3)).to_have_attribute("data-state", "never")


async def _read_tokens(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.tab("Your token")
    panel = page.get_by_role("tabpanel", name="Your token")
    await expect(panel.get_by_role("row", name="aud api-gateway")).to_be_visible()
    before = await panel.locator(".raw").text_content()
    await visitor.button("Renew it now").click()
    await expect(panel.locator(".raw")).not_to_have_text(before or "")
    await panel.get_by_text("The token itself").click()
    await visitor.look("token")

    token = await panel.locator(".raw").text_content()
    await page.get_by_label("A token; it does not leave this page").fill("no token")
    await visitor.button("Open it").click()
    await expect(panel.get_by_role("alert")).to_contain_text("three parts")
    await visitor.look("no-token")
    await page.get_by_label("A token; it does not leave this page").fill(token or "")
    await visitor.button("Open it").click()
    dialog = page.get_by_role("dialog", name="A token")
    await expect(dialog.get_by_role("row", name="typ at+jwt")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()


async def _sign_out_and_in(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.button("Sign out").click()
    await expect(page.get_by_text("You have signed out.")).to_be_visible()
    await visitor.look("signed-out")
    await visitor.fill_in(password="a wrong one, and long")
    await visitor.button("Sign in").click()
    await expect(page.locator("#credentials-problem")).to_be_visible()
    visitor.forgive(401)
    await visitor.look("wrong-password")
    await visitor.sign_in()


async def _revoke_oneself(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.tab("Forge it")
    card = await visitor.forge("Revoke yourself")
    await expect(page.get_by_text("You have revoked yourself")).to_be_visible()
    await expect(card.locator(".stamp")).to_have_text("revoked")
    await expect(card.locator(".rail")).to_contain_text("no. 11: revocation")
    await visitor.look("revoked")
    await visitor.sign_in()
    await expect(page.get_by_role("tabpanel", name="Orders")).to_be_visible()


async def test_everything_can_be_done_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.page

    await visitor.tab_to("Skip to the content")
    await visitor.tab_to("login")
    await page.keyboard.type(visitor.name)
    await visitor.tab_to("password")
    await page.keyboard.type("correct horse battery staple")
    await visitor.tab_to("Register")
    await page.keyboard.press("Enter")
    await visitor.inside()

    await visitor.tab_to("Place the order")
    await page.keyboard.press("Enter")
    card = visitor.journey()
    await expect(card.locator(".stamp")).to_have_text("placed")
    await expect(card.locator(".check-list li")).to_have_count(13)
    await visitor.tab_to("Open the carnet")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    assert await visitor.focused() == "Open the carnet"

    await visitor.tab_to("tab-orders")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tabpanel", name="Forge it")).to_be_visible()
    await visitor.tab_to("forgery-body")
    await page.keyboard.press("ArrowDown")
    await visitor.tab_to("Send it")
    await page.keyboard.press("Space")
    stamp = visitor.journey("forged").locator(".stamp")
    await expect(stamp).to_have_text("seal_mismatch")

    await visitor.tab_to("sign-out")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("You have signed out.")).to_be_visible()
    assert await visitor.focused() == "login"


async def test_nothing_is_kept_beyond_the_page(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.register()

    kept = await page.evaluate(
        "[localStorage.length, sessionStorage.length, document.cookie.length]"
    )

    assert kept == [0, 0, 0]
    assert await page.context.cookies() == []
    await page.reload()
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()


async def test_what_happens_elsewhere_is_seen_here(visit: Visit) -> None:
    """The same user at two browsers: an order placed at one appears at the other."""
    first = await visit()
    await first.register()
    second = await visit(SCREENS[2], name=first.name)
    await second.sign_in()

    await first.place()

    await expect(second.page.locator("#orders .state")).to_have_text(["placed"])


async def test_a_page_that_nobody_sees_leaves_its_connections_to_others(visit: Visit) -> None:
    """A browser has six to one host; and what happened meanwhile is seen afterwards."""
    visitor = await visit()
    await visitor.register()
    await visitor.place()
    elsewhere = await visit(name=visitor.name)
    await elsewhere.sign_in()
    await visitor.hide(hidden=True)
    await expect(visitor.page.locator("#live-text")).to_have_text("connecting")

    await elsewhere.place()
    await visitor.hide(hidden=False)

    await expect(visitor.page.locator("#live-text")).to_have_text("live")
    await expect(visitor.page.locator("#orders .state")).to_have_text(["placed", "placed"])
    await visitor.place()


async def test_a_session_that_is_ended_elsewhere_ends_here(
    visitor: Visitor, stack: LocalStack
) -> None:
    await visitor.register()
    await visitor.tab("Your token")
    token = await visitor.page.locator("#access .raw").text_content()

    answer = await visitor.page.request.delete(
        f"{stack.gateway_url}/v1/sessions/current", headers={"Authorization": f"Bearer {token}"}
    )

    assert answer.status == 204
    await expect(visitor.page.get_by_text("Your session has ended.")).to_be_visible()


async def test_the_page_goes_on_when_the_gateway_comes_back(
    visitor: Visitor, stack: LocalStack
) -> None:
    await visitor.register()
    await stack.stop_service("gateway")
    await expect(visitor.page.locator("#live-text")).to_have_text("connecting")
    await visitor.button("Place the order").click()
    await expect(visitor.page.locator("#order-problem")).to_contain_text("cannot be reached")

    await stack.start_service("gateway")

    await expect(visitor.page.locator("#live-text")).to_have_text("live")
    card = await visitor.place()
    await expect(card.locator(".stamp")).to_have_text("placed")
    # Not there, and then there without having heard the trust feed yet: both were wanted.
    away = ("net::ERR", "status of 503")
    visitor.amiss[:] = [each for each in visitor.amiss if not any(a in each for a in away)]


async def test_a_word_that_is_markup_is_shown_as_a_word(visitor: Visitor) -> None:
    """A token's claims are anybody's words: they are read in, and never run."""
    await visitor.register()
    await visitor.tab("Your token")
    # {"alg":"none"}.{"sub":"<img src=x onerror=alert(1)>"}.
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI8aW1nIHNyYz14IG9uZXJyb3I9YWxlcnQoMSk-In0.x"
    await visitor.page.get_by_label("A token; it does not leave this page").fill(token)
    await visitor.button("Open it").click()

    await expect(
        visitor.page.get_by_role("cell", name="<img src=x onerror=alert(1)>")
    ).to_be_visible()
    assert await visitor.page.locator("dialog img").count() == 0
