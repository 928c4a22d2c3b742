"""The page on which users sign in for an app, in a real browser: authorization code with PKCE."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from services.local.stack import LocalStack
from tests.browser.conftest import Visit
from tests.browser.notes import TITLE, Notes, register
from tests.browser.visitor import PASSWORD, SCREENS, Screen, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ALLOW = "Sign in and allow"


@pytest_asyncio.fixture(scope="module")
async def registered(stack: LocalStack) -> LocalStack:
    await register(stack)
    return stack


@pytest_asyncio.fixture
async def notes(registered: LocalStack) -> AsyncIterator[Notes]:
    async with Notes.open(registered) as app:
        yield app


async def back_at_the_app(visitor: Visitor) -> None:
    await expect(visitor.page.get_by_role("heading", name="Back at Notes")).to_be_visible()


@pytest.mark.parametrize("screen", SCREENS, ids=str)
async def test_a_user_signs_in_for_an_app_and_the_app_acts_for_them(
    visit: Visit, notes: Notes, user: str, screen: Screen
) -> None:
    visitor = await visit(screen, name=user, at=notes.address())
    page = visitor.page
    await expect(page.get_by_role("heading")).to_have_text(f"Sign in for {TITLE}")
    await expect(page.get_by_role("listitem")).to_have_count(1)
    await expect(page.get_by_text("It does not learn your password.")).to_be_visible()
    await expect(page.get_by_text(f"You are led back to {notes.callback}.")).to_be_visible()
    await visitor.look("sign-in")

    await visitor.fill_in(password="a wrong one, and long")
    await visitor.button(ALLOW).click()
    await expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong")
    visitor.forgive(403)
    await expect(page.get_by_label("Name", exact=True)).to_have_value(user)
    await expect(page.get_by_label("Password", exact=True)).to_have_value("")
    await expect(page.get_by_label("Name", exact=True)).to_have_accessible_description(
        "Name or password is wrong, or was wrong too often: then wait a little."
    )
    await visitor.look("sign-in-wrong")

    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await visitor.button(ALLOW).click()

    await back_at_the_app(visitor)
    back = await notes.led_back()
    assert back.keys() == {"code", "state", "iss"}
    assert (back["state"], back["iss"]) == (notes.state, notes.metadata["issuer"])
    tokens = await notes.trade(back)
    assert tokens["scope"] == "orders:read"
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with httpx.AsyncClient(base_url=notes.gateway, headers=bearer) as app:
        assert (await app.get("/v1/orders")).status_code == 200
        assert (await app.get("/v1/sessions/current")).json()["name"] == user


async def test_who_cancels_is_led_back_and_the_app_gets_nothing(visit: Visit, notes: Notes) -> None:
    """Without typing anything: the fields are wanted for signing in alone."""
    visitor = await visit(at=notes.address())

    await visitor.button("Cancel").click()

    await back_at_the_app(visitor)
    back = await notes.led_back()
    assert (back["error"], back["state"]) == ("access_denied", notes.state)
    assert "code" not in back


async def test_nothing_can_be_sent_without_name_and_password(visit: Visit, notes: Notes) -> None:
    visitor = await visit(at=notes.address())

    await visitor.button(ALLOW).click()

    assert await visitor.page.locator("input:invalid").count() == 2
    assert await visitor.focused() == "name"
    await expect(visitor.page.get_by_role("heading")).to_have_text(f"Sign in for {TITLE}")


async def test_everything_can_be_done_with_the_keyboard(
    visit: Visit, notes: Notes, user: str
) -> None:
    visitor = await visit(at=notes.address())
    keyboard = visitor.page.keyboard

    await visitor.tab_to("name")
    await keyboard.type(user)
    await visitor.tab_to("password")
    await keyboard.type(PASSWORD)
    await visitor.tab_to(ALLOW)
    await visitor.tab_to("Cancel")
    await keyboard.press("Shift+Tab")
    assert await visitor.focused() == ALLOW
    await keyboard.press("Enter")

    await back_at_the_app(visitor)
    assert "code" in await notes.led_back()


async def test_enter_in_the_password_allows_as_the_first_button_does(
    visit: Visit, notes: Notes, user: str
) -> None:
    visitor = await visit(name=user, at=notes.address())
    await visitor.fill_in()

    await visitor.page.keyboard.press("Enter")

    await back_at_the_app(visitor)
    assert "code" in await notes.led_back()


async def test_a_sign_in_leaves_no_session_in_the_browser(
    visit: Visit, notes: Notes, user: str
) -> None:
    """Each app asks for the password: what is kept is the form's cookie, which no script reads."""
    visitor = await visit(name=user, at=notes.address())
    await visitor.fill_in()
    await visitor.button(ALLOW).click()
    await back_at_the_app(visitor)

    await visitor.page.goto(notes.address())

    await expect(visitor.button(ALLOW)).to_be_visible()
    assert await visitor.page.evaluate("document.cookie") == ""
    assert [each["name"] for each in await visitor.page.context.cookies()] == ["carnet-form"]


@pytest.mark.parametrize("screen", SCREENS, ids=str)
async def test_a_link_of_nobody_leads_nowhere(visit: Visit, notes: Notes, screen: Screen) -> None:
    visitor = await visit(screen, at=notes.address().replace("app%3Anotes", "app%3Anobody"))

    await expect(visitor.page.get_by_role("heading")).to_have_text("This link leads nowhere")
    visitor.forgive(400)
    await visitor.look("nowhere")


@pytest.mark.parametrize("screen", SCREENS[::3], ids=str)
async def test_while_the_user_service_is_away_the_page_says_so_and_goes_on_afterwards(
    visit: Visit, notes: Notes, stack: LocalStack, user: str, screen: Screen
) -> None:
    await stack.stop_service("users")
    try:
        visitor = await visit(screen, name=user, at=notes.address())
        heading = visitor.page.get_by_role("heading")
        await expect(heading).to_have_text("Not possible at present")
        visitor.forgive(503)
        await visitor.look("away")
    finally:
        await stack.start_service("users")

    await visitor.page.get_by_role("link", name="Try again").click()

    await expect(heading).to_have_text(f"Sign in for {TITLE}")
    await visitor.fill_in()
    await visitor.button(ALLOW).click()
    await back_at_the_app(visitor)
    assert "code" in await notes.led_back()
