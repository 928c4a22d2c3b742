"""Somebody at the page, who uses it as people do and notices what is amiss."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, expect

PASSWORD: Final = "correct horse battery staple"
SCREENSHOTS: Final = Path(__file__).parents[2] / "build" / "screenshots"
PATIENCE: Final = 20_000
"""Milliseconds for the system to do what was asked."""

_WATCH: Final = """
window.seenButtons = new Set(); window.usedButtons = new Set();
const nameOf = (button) => button.id || button.textContent.trim();
addEventListener("click", (event) => {
  const button = event.target.closest?.("button");
  if (button) window.usedButtons.add(nameOf(button));
}, true);
addEventListener("submit", (event) => {
  if (event.submitter) window.usedButtons.add(nameOf(event.submitter));
}, true);
new MutationObserver(() => {
  for (const button of document.querySelectorAll("button")) {
    if (button.checkVisibility()) window.seenButtons.add(nameOf(button));
  }
}).observe(document, { subtree: true, childList: true, attributes: true });
addEventListener("securitypolicyviolation", (event) => {
  console.error("policy violated: " + event.violatedDirective + " " + event.blockedURI);
});
"""

_HIDE: Final = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@dataclass(frozen=True)
class Screen:
    """What the page is looked at on."""

    name: str
    width: int
    height: int
    scheme: str

    def __str__(self) -> str:
        return f"{self.name}-{self.scheme}"


SCREENS: Final = [
    Screen("desktop", 1280, 900, "light"),
    Screen("desktop", 1280, 900, "dark"),
    Screen("phone", 390, 844, "light"),
    Screen("phone", 390, 844, "dark"),
]


@dataclass
class Visitor:
    """A browser of one's own at the page.

    amiss: what the browser has complained about; `leave` allows nothing there.
    """

    page: Page
    screen: Screen
    name: str
    amiss: list[str] = field(default_factory=list)
    views: int = 0

    @classmethod
    async def open(
        cls, browser: Browser, url: str, screen: Screen, *, name: str | None = None
    ) -> Self:
        context = await browser.new_context(
            viewport={"width": screen.width, "height": screen.height},
            color_scheme="dark" if screen.scheme == "dark" else "light",
            reduced_motion="reduce",
            locale="en-GB",
        )
        await context.add_init_script(_WATCH)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        visitor = cls(page, screen, name or f"ada-{secrets.token_hex(5)}")
        page.on("console", visitor._heard)
        page.on("pageerror", lambda error: visitor.amiss.append(str(error)))
        await page.goto(url)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        return visitor

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.amiss.append(message.text)

    async def leave(self) -> None:
        await self.page.context.close()
        assert self.amiss == []

    def forgive(self, status: int) -> None:
        """An answer of this status was wanted: the browser reports it as if it were amiss."""
        wanted = f"the server responded with a status of {status}"
        assert any(wanted in each for each in self.amiss), self.amiss
        self.amiss[:] = [each for each in self.amiss if wanted not in each]

    def button(self, name: str, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    async def fill_in(self, *, password: str = PASSWORD) -> None:
        await self.page.get_by_label("Name", exact=True).fill(self.name)
        await self.page.get_by_label("Password", exact=True).fill(password)

    async def register(self) -> None:
        await self.fill_in()
        await self.button("Register").click()
        await self.inside()

    async def sign_in(self) -> None:
        await self.fill_in()
        await self.button("Sign in").click()
        await self.inside()

    async def inside(self) -> None:
        """Signed in, and both streams are open."""
        await expect(self.page.get_by_text(f"Signed in as {self.name}")).to_be_visible()
        await expect(self.page.locator("#live-text")).to_have_text("live")

    async def tab(self, name: str) -> None:
        await self.page.get_by_role("tab", name=name).click()
        await expect(self.page.get_by_role("tabpanel", name=name)).to_be_visible()

    def journey(self, place: str = "travels", number: int = 0) -> Locator:
        """A message's card; the newest is number 0."""
        return self.page.locator(f"#{place} > li").nth(number)

    async def place(self) -> Locator:
        """Place the order that the form shows; its card, once its event is there."""
        before = await self.page.locator("#travels > li").count()
        await self.button("Place the order").click()
        await expect(self.page.locator("#travels > li")).to_have_count(min(before + 1, 12))
        card = self.journey()
        await expect(card.locator(".stamp")).not_to_have_text("on its way")
        await expect(card.locator(".check-list li")).to_have_count(13)
        return card

    async def forge(self, title: str) -> Locator:
        """Send a forgery; its card."""
        before = await self.page.locator("#forged > li").count()
        await self.page.get_by_role("radio", name=title).check()
        await self.button("Send it").click()
        await expect(self.page.locator("#forged > li")).to_have_count(before + 1)
        return self.journey("forged")

    async def focused(self) -> str:
        """What has the focus: its id, or else what stands on it."""
        name: str = await self.page.evaluate(
            "document.activeElement.id || document.activeElement.textContent.trim()"
        )
        return name

    async def tab_to(self, name: str) -> None:
        """Press Tab until it has the focus, and see that this shows."""
        for _ in range(60):
            await self.page.keyboard.press("Tab")
            if await self.focused() == name:
                style = "getComputedStyle(document.activeElement).outlineStyle"
                assert await self.page.evaluate(style) != "none", f"{name}: its focus is unseen"
                return
        pytest.fail(f"{name} is out of the keyboard's reach")

    async def look(self, view: str) -> None:
        """Keep a picture of what there is to see; nothing of it may be out of reach.

        axe-core finds no violation, and nothing is wider than the screen.
        """
        self.views += 1
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{self.screen}-{self.views:02d}-{view}.png"
        open_dialog = await self.page.locator("dialog[open]").count() > 0
        await self.page.screenshot(path=path, full_page=not open_dialog)
        found = await Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()
        wide = await self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"{view} is wider than the screen"

    async def hide(self, *, hidden: bool) -> None:
        """Have the browser say that nobody sees the page, or that somebody does."""
        await self.page.evaluate(_HIDE, hidden)

    async def unused_buttons(self) -> set[str]:
        """Buttons that were to be seen and that nobody has pressed."""
        unused: list[str] = await self.page.evaluate(
            "[...window.seenButtons].filter((name) => !window.usedButtons.has(name))"
        )
        return set(unused)
