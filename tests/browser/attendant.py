"""Somebody at the operators' console, and what lies there for them."""

from dataclasses import dataclass, replace
from typing import Final

from playwright.async_api import Locator, expect

from auth.message import Route
from services.demo.client import Account, ShopClient
from tests.browser.visitor import Visitor
from tests.e2e.letterbox import Letterbox

MARKUP: Final = "<img src=x onerror=alert(1)>"


@dataclass
class Attendant(Visitor):
    """An operator, at a browser of their own."""

    async def inside(self) -> None:
        """Signed in, and the system has been looked at."""
        await expect(self.page.get_by_text(f"Signed in as {self.name}")).to_be_visible()
        await expect(self.page.locator("#live-text")).to_have_text("live")

    async def leave(self) -> None:
        """Once all that was asked is answered: letters still being read would come back later."""
        await self.page.evaluate(
            "import('/console/page/asking.js').then((asking) => asking.answered())"
        )
        await super().leave()

    async def go(self, view: str) -> Locator:
        """To a view, by its link; the view."""
        await self.page.get_by_role("navigation").get_by_role("link", name=view).click()
        return await self.at(view)

    async def at(self, view: str) -> Locator:
        """The view that is shown."""
        region = self.page.get_by_role("region", name=view, exact=True)
        await expect(region).to_be_visible()
        assert await self.page.title() == f"{view} · Carnet console"
        return region

    async def look(self, view: str) -> None:
        await super().look(f"console-{view}")

    async def agree(self) -> None:
        """Say yes in the dialog, which closes once it is done."""
        await self.page.locator("#confirm-yes").click()
        await expect(self.page.get_by_role("dialog")).to_be_hidden()

    async def said(self, text: str) -> None:
        """It was said to those who listen."""
        await expect(self.page.get_by_role("status")).to_contain_text(text)

    def letters(self) -> Locator:
        """The refused messages that are listed."""
        return self.page.locator("#letters tbody tr")

    def letter(self, message_id: str) -> Locator:
        return self.letters().filter(has_text=message_id)


@dataclass
class Mail:
    """Refused messages of one user's, made as whoever has got hold of a broker can make them."""

    box: Letterbox
    shop: ShopClient
    account: Account

    async def late(self) -> str:
        """A genuine order that has waited for two days; its id, which is the order's."""
        message_id, envelope = self.box.place(self.account)
        await self.box.refused(envelope)
        return message_id

    async def forged(self) -> str:
        """An order whose body is another one, with markup; its id."""
        message_id, envelope = self.box.place(self.account)
        body = f'{{"note": "{MARKUP}"}}'.encode()
        await self.box.refused(replace(envelope, body=body))
        return message_id

    async def mistyped(self) -> None:
        """A message whose type is markup."""
        _, envelope = self.box.place(self.account)
        route = Route(envelope.route.exchange, envelope.route.routing_key, MARKUP)
        await self.box.refused(replace(envelope, route=route))

    async def placed(self, order_id: str) -> bool:
        """Whether the order is there."""
        order = await self.shop.order(self.account, order_id)
        return order is not None and order["state"] == "placed"
