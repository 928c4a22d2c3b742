"""The page on which users sign in on a device, in a real browser (RFC 8628)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from services.gateway.routes.token import DEVICE
from services.local.stack import LocalStack
from tests.browser.conftest import Visit
from tests.browser.visitor import PASSWORD, SCREENS, Screen, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CLIENT: Final = "app:carnet-cli"
TITLE: Final = "Carnet's command line"
ALLOW: Final = "Sign in and allow"


@dataclass
class Device:
    """A device that waits for its user."""

    http: httpx.AsyncClient
    codes: dict[str, Any]

    @property
    def code(self) -> str:
        """What it shows."""
        return str(self.codes["user_code"])

    async def ask(self) -> dict[str, Any]:
        """What it is told by now."""
        question = {
            "grant_type": DEVICE,
            "client_id": CLIENT,
            "device_code": self.codes["device_code"],
        }
        answer: dict[str, Any] = (await self.http.post("/oauth/token", data=question)).json()
        return answer


@pytest_asyncio.fixture
async def device(stack: LocalStack) -> AsyncIterator[Device]:
    asked = {"client_id": CLIENT, "scope": "orders:read"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as http:
        answer = await http.post("/oauth/device_authorization", data=asked)
        yield Device(http, answer.raise_for_status().json())


async def type_code(visitor: Visitor, code: str) -> None:
    await visitor.page.get_by_label("Code", exact=True).fill(code)
    await visitor.button("Go on").click()


@pytest.mark.parametrize("screen", SCREENS, ids=str)
async def test_a_user_types_the_code_signs_in_and_the_device_goes_on(
    visit: Visit, device: Device, user: str, screen: Screen
) -> None:
    visitor = await visit(screen, name=user, at=device.codes["verification_uri"])
    page = visitor.page
    heading, alert = page.get_by_role("heading"), page.get_by_role("alert")
    await expect(heading).to_have_text("Sign in on a device")
    await visitor.look("device")

    await type_code(visitor, "BBBB-BBBB")
    await expect(alert).to_contain_text("No device waits with this code.")
    visitor.forgive(403)
    await visitor.look("device-wrong-code")

    await type_code(visitor, device.code.lower().replace("-", " "))
    await expect(heading).to_have_text(f"Sign in for {TITLE}")
    await expect(page.get_by_text(f"shows the code {device.code}.")).to_be_visible()
    await visitor.look("device-sign-in")

    await visitor.fill_in(password="a wrong one, and long")
    await visitor.button(ALLOW).click()
    await expect(alert).to_contain_text("Name or password is wrong")
    visitor.forgive(403)
    await expect(page.get_by_label("Name", exact=True)).to_have_value(user)
    await visitor.look("device-wrong")

    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await visitor.button(ALLOW).click()
    await expect(heading).to_have_text("Signed in")
    await visitor.look("device-signed-in")

    tokens = await device.ask()
    assert tokens["scope"] == "orders:read"
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    session = (await device.http.get("/v1/sessions/current", headers=bearer)).json()
    assert (session["name"], session["client_id"]) == (user, CLIENT)


@pytest.mark.parametrize("screen", SCREENS[::3], ids=str)
async def test_who_denies_it_needs_no_password_and_the_device_is_told(
    visit: Visit, device: Device, screen: Screen
) -> None:
    visitor = await visit(screen, at=device.codes["verification_uri"])
    await type_code(visitor, device.code)

    await visitor.button("Cancel").click()

    await expect(visitor.page.get_by_role("heading")).to_have_text("Not signed in")
    await visitor.look("device-denied")
    assert (await device.ask())["error"] == "access_denied"


async def test_the_code_may_be_there_already_and_the_keyboard_does_the_rest(
    visit: Visit, device: Device, user: str
) -> None:
    visitor = await visit(at=device.codes["verification_uri_complete"])
    keyboard = visitor.page.keyboard

    await visitor.tab_to("user_code")
    await expect(visitor.page.get_by_label("Code", exact=True)).to_have_value(device.code)
    await visitor.tab_to("Go on")
    await keyboard.press("Enter")
    await expect(visitor.page.get_by_role("heading")).to_have_text(f"Sign in for {TITLE}")
    await visitor.tab_to("name")
    await keyboard.type(user)
    await visitor.tab_to("password")
    await keyboard.type(PASSWORD)
    await visitor.tab_to(ALLOW)
    await keyboard.press("Space")

    await expect(visitor.page.get_by_role("heading")).to_have_text("Signed in")
    assert "access_token" in await device.ask()
