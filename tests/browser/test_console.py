"""The operators' console, in a real browser, on the real system: every button, every view."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from services.contracts.scopes import OBSERVER, OPERATOR
from services.contracts.topology import ORDERS_COMMANDS
from services.demo.client import ShopClient
from services.local.stack import LocalStack
from tests.browser.attendant import MARKUP, Attendant, Mail
from tests.browser.visitor import PASSWORD, PATIENCE, SCREENS, Screen
from tests.e2e.letterbox import Letterbox, open_letterbox, told

VIEWS = ["Overview", "Refused", "People", "Keys", "Trust feed", "Queues", "Audit"]
PAGE_OF_ACCOUNTS = 50
KEYS = 12
"""Next keys of the issuer: more than these tests let sign."""

Attend = Callable[..., Awaitable[Attendant]]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module")
async def box(
    stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Letterbox]:
    """Two accounts that may come in, next keys, and more accounts than one page shows."""
    async with open_letterbox(stack, tmp_path_factory.mktemp("desk")) as box:
        for name, role in (("grace", OPERATOR), ("henry", OPERATOR), ("olga", OBSERVER)):
            await _carnet(box, "accounts", "add", name, "--role", role, *_BY_FILE)
        await _carnet(box, "trust", "rotate", "issuer", "--ahead", str(KEYS))
        for number in range(PAGE_OF_ACCOUNTS):
            await _carnet(box, "accounts", "add", f"crowd-{number:02d}", *_BY_FILE)
        yield box


_BY_FILE = ("--password-file", "grace.password")


async def _carnet(box: Letterbox, *arguments: str) -> str:
    ended = await box.run(*arguments)
    assert ended.code == 0, told(ended)
    return ended.out


@pytest_asyncio.fixture
async def mail(box: Letterbox, stack: LocalStack) -> AsyncIterator[Mail]:
    """Refused messages of somebody new; none of before are left."""
    await box.empty()
    async with ShopClient(stack.gateway_url) as shop:
        name = f"ada-{id(shop):x}"
        await shop.register(name, PASSWORD)
        yield Mail(box, shop, await shop.sign_in(name, PASSWORD))


@pytest_asyncio.fixture
async def attend(box: Letterbox, stack: LocalStack, browser: Browser) -> AsyncIterator[Attend]:
    """Opens the console for an account; nothing may be amiss at its end."""
    del box  # which makes the accounts
    async with AsyncExitStack() as opened:

        async def attend(
            name: str = "grace", screen: Screen = SCREENS[0], *, at: str = ""
        ) -> Attendant:
            url = f"{stack.console_url}{at}"
            attendant = await Attendant.open(browser, url, screen, name=name)
            opened.push_async_callback(attendant.leave)
            return attendant

        yield attend


@pytest.mark.parametrize("screen", SCREENS, ids=str)
async def test_every_button_of_the_console_does_its_work(
    attend: Attend, mail: Mail, screen: Screen
) -> None:
    attendant = await attend(screen=screen)
    await attendant.look("welcome")
    await attendant.fill_in(password="a wrong one, and long")
    await attendant.button("Sign in").click()
    await expect(attendant.page.get_by_role("alert")).to_be_visible()
    attendant.forgive(401)
    await attendant.look("wrong-password")
    ids = [await mail.late() for _ in range(4)]
    forged = await mail.forged()
    await attendant.sign_in()

    await _overview(attendant)
    await _refused(attendant, mail, ids, forged)
    await _people(attendant, mail)
    await _keys(attendant)
    await _feed_and_queues(attendant)
    await _audit(attendant)
    await attendant.button("Sign out").click()
    await expect(attendant.page.get_by_role("alert")).to_have_text("You have signed out.")

    assert await attendant.unused_buttons() == set()


async def _overview(attendant: Attendant) -> None:
    page = attendant.page
    view = await attendant.at("Overview")
    await expect(view.get_by_role("link", name="5 refused messages lie aside")).to_be_visible()
    await expect(view.get_by_role("listitem").filter(has_text="orders")).to_contain_text("ready")
    dead = view.get_by_role("region", name="Dead letters")
    await expect(dead.locator(".legend b")).to_have_text("5")
    described = dead.get_by_role("img", name="Dead letters")
    await expect(described).to_have_accessible_description(re.compile("now: 5 now, between"))
    await page.get_by_text("15 min", exact=True).click()
    await page.get_by_text("1 min", exact=True).click()
    await attendant.look("overview")

    await attendant.button("Table: Messages", view).click()
    dialog = page.get_by_role("dialog", name="Messages")
    await expect(dialog.get_by_role("row").nth(1)).to_contain_text("/s")
    await attendant.look("table")
    await attendant.button("Close", dialog).click()
    await attendant.button("Pause", view).click()
    await expect(page.locator("#live-text")).to_have_text("paused")
    await attendant.button("Go on", view).click()
    await expect(page.locator("#live-text")).to_have_text("live")


async def _refused(attendant: Attendant, mail: Mail, ids: list[str], forged: str) -> None:
    page = attendant.page
    view = await attendant.go("Refused")
    await expect(attendant.letters()).to_have_count(5)
    await attendant.look("refused")
    await _filter(attendant, ids[0])

    await attendant.letter(forged).get_by_role("link").click()
    await expect(view.locator(".stamp")).to_have_text("seal_mismatch")
    refused = view.locator(".check-list li[data-verdict=refused]")
    await expect(refused).to_contain_text("Sealed by the carnet's own client")
    await expect(view.locator(".check-list li[data-verdict=passed]")).to_have_count(8)
    await expect(view.locator("pre")).to_contain_text(MARKUP)
    assert await view.locator("#letter img").count() == 0
    await view.get_by_text("The carnet", exact=True).click()
    await expect(view.get_by_role("row", name="aud order-service")).to_be_visible()
    await attendant.look("letter")
    await attendant.button("← All refused messages", view).click()

    await attendant.letter(ids[0]).get_by_role("checkbox").check()
    await attendant.letter(forged).get_by_role("checkbox").check()
    await expect(page.locator("#picked")).to_contain_text("2 messages picked")
    await attendant.look("picked")
    await _release(attendant, mail, ids[0], forged)

    await attendant.letter(ids[1]).get_by_role("link").click()
    await attendant.button("Release…", view).click()
    await attendant.agree()
    await expect(page.locator("#outcome")).to_contain_text("1 released")
    await _until_placed(mail, ids[1])
    await attendant.letter(ids[2]).get_by_role("link").click()
    await attendant.button("Discard…", view).click()
    await attendant.look("discard")
    await attendant.agree()
    await expect(page.locator("#outcome")).to_contain_text("1 discarded")
    await expect(attendant.letters()).to_have_count(2)

    await page.get_by_role("checkbox", name="All that are shown").check()
    await attendant.button("Discard…", view).click()
    await attendant.agree()
    await attendant.said("2 discarded.")
    await expect(view.get_by_text("Nothing lies aside here that fits.")).to_be_visible()
    await attendant.look("nothing-refused")
    assert await mail.box.raw.count(ORDERS_COMMANDS.dead) == 0
    assert not await mail.placed(ids[2])


async def _filter(attendant: Attendant, message_id: str) -> None:
    page = attendant.page
    await page.get_by_role("checkbox", name="seal_mismatch").check()
    await expect(attendant.letters()).to_have_count(1)
    await page.get_by_role("searchbox", name="Search").fill(message_id)
    await expect(page.get_by_text("Nothing lies aside here that fits.")).to_be_visible()
    await page.get_by_role("checkbox", name="seal_mismatch").uncheck()
    await expect(attendant.letters()).to_have_count(1)
    await expect(attendant.letters()).to_contain_text(message_id)
    await attendant.button("Clear").click()
    await expect(attendant.letters()).to_have_count(5)
    await page.get_by_label("Until", exact=True).fill("2020-01-01T00:00")
    await expect(page.get_by_text("Nothing lies aside here that fits.")).to_be_visible()
    await page.get_by_label("Until", exact=True).fill("")
    await attendant.button("Look again").click()
    await expect(attendant.letters()).to_have_count(5)


async def _release(attendant: Attendant, mail: Mail, late: str, forged: str) -> None:
    """Two are picked, of which one was never genuine: the other becomes an order."""
    page = attendant.page
    view = await attendant.at("Refused")
    await attendant.button("Release…", view).click()
    dialog = page.get_by_role("dialog", name="Release 2 messages?")
    await dialog.get_by_label("Also lift revocation").check()
    await attendant.look("release")
    await attendant.button("Leave it", dialog).click()
    await expect(dialog).to_be_hidden()
    assert not await mail.placed(late)

    await attendant.button("Release…", view).click()
    await expect(dialog.get_by_label("Also lift revocation")).not_to_be_checked()
    await attendant.agree()
    outcome = page.get_by_role("region", name="1 released, 1 stays: seal_mismatch")
    await expect(outcome.get_by_role("listitem").filter(has_text=late)).to_contain_text("released")
    await expect(outcome.get_by_role("listitem").filter(has_text=forged)).to_contain_text("stays")
    await attendant.said("1 released, 1 stays: seal_mismatch.")
    await _until_placed(mail, late)
    await expect(attendant.letters()).to_have_count(4)
    await attendant.look("outcome")
    await attendant.button("Close", outcome).click()
    await expect(outcome).to_be_hidden()


async def _until_placed(mail: Mail, order_id: str) -> None:
    async with asyncio.timeout(PATIENCE / 1000):
        while not await mail.placed(order_id):  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.05)


async def _people(attendant: Attendant, mail: Mail) -> None:
    page = attendant.page
    name = mail.account.name
    view = await attendant.go("People")
    accounts = page.locator("#people tbody tr")
    await expect(accounts).to_have_count(PAGE_OF_ACCOUNTS)
    await attendant.button("More accounts", view).click()
    await expect(accounts).not_to_have_count(PAGE_OF_ACCOUNTS)
    await attendant.look("people")
    await page.get_by_role("searchbox", name="Search").fill(name)
    await expect(accounts).to_have_count(1)
    await mail.shop.sign_in(name, PASSWORD)
    await view.get_by_role("link", name=name).click()
    live = view.get_by_role("row").filter(has_text="live")
    await expect(live).to_have_count(2)
    await attendant.look("person")

    await live.first.get_by_role("button").click()
    await attendant.look("end-session")
    await attendant.agree()
    await attendant.said("The session has ended.")
    await expect(live).to_have_count(1)
    await attendant.button("End all…", view).click()
    await attendant.agree()
    await attendant.said(f"All sessions of {name} have ended.")
    await expect(live).to_have_count(0)
    await expect(attendant.button("End all…", view)).to_be_hidden()


async def _keys(attendant: Attendant) -> None:
    page = attendant.page
    view = await attendant.go("Keys")
    signing = page.locator("#keys tr").filter(has_text="signs now").locator("code")
    await expect(signing).to_have_count(1)
    await attendant.look("keys")
    before = await signing.get_attribute("title")

    await attendant.button("Rotate…", view).click()
    await attendant.look("rotate")
    await _once_it_may(attendant)
    await attendant.said("The issuer signs with the next key now.")
    await expect(signing).not_to_have_attribute("title", before or "")
    await expect(page.locator("#keys tr").filter(has_text="signs now")).to_have_count(1)

    now = await signing.get_attribute("title")
    await attendant.button(f"Retire key {now}", view).click()
    await _once_it_may(attendant)
    await attendant.said("The key is retired.")
    await expect(signing).not_to_have_attribute("title", now or "")
    await attendant.look("keys-after")


async def _once_it_may(attendant: Attendant) -> None:
    """Say yes until the next key was listed for long enough; until then the dialog says why not."""
    page = attendant.page
    yes = page.locator("#confirm-yes")
    problem = page.locator("#confirm-problem")
    async with asyncio.timeout(60):
        while True:
            await yes.click()
            await expect(
                page.locator("#confirm:not([open]), #confirm-problem:not([hidden])")
            ).to_be_attached()
            if not await page.locator("#confirm[open]").count():
                return
            await expect(problem).to_contain_text("was listed less than 30 s ago")
            attendant.forgive(409)
            await asyncio.sleep(1)  # until it may: nobody tells when


async def _feed_and_queues(attendant: Attendant) -> None:
    view = await attendant.go("Trust feed")
    await expect(view.get_by_role("heading", name="Everybody hears the issuer")).to_be_visible()
    await expect(view.get_by_role("row", name=re.compile("^orders"))).to_contain_text("fresh")
    await attendant.look("feed")

    view = await attendant.go("Queues")
    await expect(
        view.get_by_role("row", name=re.compile(f"^{ORDERS_COMMANDS.name} "))
    ).to_be_visible()
    await attendant.look("queues")
    await view.get_by_role("link", name=ORDERS_COMMANDS.dead).click()
    await attendant.at("Refused")


async def _audit(attendant: Attendant) -> None:
    page = attendant.page
    view = await attendant.go("Audit")
    rows = view.locator("tbody tr")
    await expect(rows).to_have_count(50)
    await attendant.button("Older entries", view).click()
    await expect(rows).not_to_have_count(50)
    await attendant.look("audit")
    await page.get_by_label("What", exact=True).select_option("discard")
    await expect(rows.first).to_contain_text("discard")
    await expect(rows.filter(has_text="sign in")).to_have_count(0)
    await page.get_by_label("Outcome", exact=True).select_option("refused")
    await attendant.button("Clear", view).click()
    await expect(page.get_by_label("What", exact=True)).to_have_value("")
    await expect(rows.first).not_to_contain_text("discard")


async def test_everything_can_be_done_with_the_keyboard(attend: Attend, mail: Mail) -> None:
    late = await mail.late()
    attendant = await attend()
    page = attendant.page
    await attendant.tab_to("login")
    await page.keyboard.type(attendant.name)
    await attendant.tab_to("password")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await attendant.inside()
    assert await attendant.focused() == "title-overview"

    await _back_to(attendant, "to-refused")
    await page.keyboard.press("Enter")
    await attendant.at("Refused")
    assert await attendant.focused() == "title-refused"
    await expect(attendant.letters()).to_have_count(1)
    await attendant.tab_to("pick-all")
    await page.keyboard.press("Space")
    await attendant.tab_to("release")
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    assert await attendant.focused() == "release"
    await page.keyboard.press("Enter")
    await attendant.tab_to("confirm-yes")
    await page.keyboard.press("Enter")
    await expect(page.locator("#outcome")).to_contain_text("1 released")
    await _until_placed(mail, late)

    await attendant.tab_to("sign-out")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("You have signed out.")
    assert await attendant.focused() == "login"


async def _back_to(attendant: Attendant, name: str) -> None:
    for _ in range(20):
        await attendant.page.keyboard.press("Shift+Tab")
        if await attendant.focused() == name:
            return
    pytest.fail(f"{name} is out of the keyboard's reach")


async def test_who_is_asked_again_at_once_can_still_answer(attend: Attend, mail: Mail) -> None:
    """A dialog tells of its end later, when the next one may be open already."""
    late = await mail.late()
    attendant = await attend()
    await attendant.sign_in()
    await attendant.go("Refused")
    page = attendant.page
    await page.get_by_label(f"Pick {late}").check()
    await attendant.button("Release…").click()

    await page.evaluate("""() => {
        document.getElementById("confirm").close();
        document.getElementById("release").click();
    }""")
    await attendant.agree()

    await expect(page.locator("#outcome")).to_contain_text("1 released")


async def test_nothing_is_kept_beyond_the_page(attend: Attend) -> None:
    attendant = await attend()
    await attendant.sign_in()
    page = attendant.page

    kept = await page.evaluate(
        "[localStorage.length, sessionStorage.length, document.cookie.length]"
    )

    assert kept == [0, 0, 0]
    assert await page.context.cookies() == []
    await page.reload()
    await expect(attendant.button("Sign in")).to_be_visible()


async def test_a_view_has_an_address_of_its_own(attend: Attend, mail: Mail) -> None:
    late = await mail.late()
    forged = await mail.forged()
    attendant = await attend(at=f"#refused?reason=seal_mismatch&search={forged}")
    await attendant.sign_in()
    await attendant.at("Refused")
    await expect(attendant.letters()).to_contain_text([forged])

    await attendant.page.get_by_role("searchbox", name="Search").fill(late)
    await attendant.page.get_by_role("checkbox", name="seal_mismatch").uncheck()

    await expect(attendant.letters()).to_contain_text([late])
    assert attendant.page.url.endswith(f"?queue={ORDERS_COMMANDS.name}&search={late}")
    await attendant.letters().get_by_role("link").click()
    await expect(attendant.page.locator("#letter .stamp")).to_have_text("too_old")
    await attendant.page.go_back()
    await expect(attendant.letters()).to_contain_text([late])


async def test_a_key_that_was_changed_elsewhere_meanwhile_is_left(
    attend: Attend, box: Letterbox
) -> None:
    """The operator saw another one sign: what is confirmed is the change from that one."""
    attendant = await attend()
    await attendant.sign_in()
    view = await attendant.go("Keys")
    signing = attendant.page.locator("#keys tr").filter(has_text="signs now").locator("code")
    seen = await signing.get_attribute("title")
    await attendant.button("Rotate…", view).click()
    async with asyncio.timeout(60):
        while (rotated := await box.run("keys", "rotate")).code:
            assert "listed less than 30 s ago" in rotated.err
            await asyncio.sleep(1)  # until it may: nobody tells when

    await attendant.page.locator("#confirm-yes").click()

    problem = attendant.page.locator("#confirm-problem")
    await expect(problem).to_contain_text("another rotation came first")
    attendant.forgive(409)
    await attendant.page.keyboard.press("Escape")
    await expect(signing).not_to_have_attribute("title", seen or "")


async def test_who_only_observes_is_offered_nothing_to_do(attend: Attend, mail: Mail) -> None:
    late = await mail.late()
    attendant = await attend("olga")
    await attendant.sign_in()
    await attendant.go("Refused")
    await expect(attendant.letters()).to_have_count(1)
    await expect(attendant.letters().get_by_role("checkbox")).to_have_count(0)
    await attendant.letter(late).get_by_role("link").click()
    await expect(attendant.page.locator("#letter .check-list li").first).to_be_visible()
    await attendant.look("observer-letter")
    await attendant.go("People")
    await attendant.page.get_by_role("searchbox", name="Search").fill("olga")
    await attendant.page.locator("#people").get_by_role("link", name="olga").click()
    await expect(attendant.page.locator("#sessions tbody tr").first).to_be_visible()
    await attendant.go("Keys")
    await expect(attendant.page.locator("#keys tbody tr").first).to_be_visible()
    await attendant.look("observer-keys")

    seen: list[str] = await attendant.page.evaluate("[...window.seenButtons]")

    offered = ("release", "discard", "letter-release", "letter-discard", "rotate", "end-all")
    assert not {*offered, "End…", "Retire…"} & set(seen)


async def test_who_is_no_operator_does_not_come_in(attend: Attend, mail: Mail) -> None:
    attendant = await attend(mail.account.name)
    await attendant.fill_in()

    await attendant.button("Sign in").click()

    await expect(attendant.page.get_by_role("alert")).to_contain_text("operations:read")
    attendant.forgive(403)


async def test_a_session_that_is_ended_elsewhere_ends_here(attend: Attend) -> None:
    """One operator ends another one's session, who learns of it without doing anything."""
    first = await attend("henry")
    await first.sign_in()
    await first.go("Queues")
    second = await attend("grace", SCREENS[2])
    await second.sign_in()
    await second.go("People")
    await second.page.get_by_role("searchbox", name="Search").fill("henry")
    await second.page.locator("#people").get_by_role("link", name="henry").click()

    await second.page.locator("#sessions").get_by_role("button").first.click()
    await second.agree()

    alert = first.page.get_by_role("alert")
    await expect(alert).to_have_text("Your session has ended. Sign in again.")
    await first.look("ended")
    assert await first.page.locator("#queue-kinds").text_content() == ""
    first.forgive(401)


async def test_who_ends_their_own_session_is_signed_out(attend: Attend) -> None:
    attendant = await attend("henry")
    await attendant.sign_in()
    await attendant.go("People")
    await attendant.page.get_by_role("searchbox", name="Search").fill("henry")
    await attendant.page.locator("#people").get_by_role("link", name="henry").click()
    own = attendant.page.locator("#sessions tr").filter(has_text="the one you sit in")
    await own.get_by_role("button").click()
    await expect(attendant.page.get_by_text("you are signed out too")).to_be_visible()

    await attendant.page.locator("#confirm-yes").click()

    await expect(attendant.page.get_by_role("alert")).to_have_text(
        "Your session has ended. Sign in again."
    )
    attendant.forgive(401)


async def test_a_page_that_nobody_sees_asks_for_nothing(attend: Attend) -> None:
    attendant = await attend()
    await attendant.sign_in()
    elsewhere = await attend()
    await elsewhere.sign_in()
    await attendant.hide(hidden=True)
    await _looks(elsewhere)  # what was on its way is there
    asked: list[str] = []
    attendant.page.on("request", lambda request: asked.append(request.url))
    await _looks(elsewhere)
    await _looks(elsewhere)
    assert asked == []

    async with attendant.page.expect_response(re.compile("/rates")) as response:
        await attendant.hide(hidden=False)

    points = (await (await response.value).json())["points"]
    assert len(points) >= 2, "what happened meanwhile is not seen"


async def _looks(attendant: Attendant) -> None:
    """Once the page has looked at the system again."""
    async with attendant.page.expect_response(re.compile("/rates")):
        pass


async def test_a_type_that_is_markup_is_shown_as_a_word(attend: Attend, mail: Mail) -> None:
    """What lies aside is anybody's words: they are read, and never run."""
    await mail.mistyped()
    attendant = await attend(at="#refused")
    await attendant.sign_in()

    await attendant.letters().get_by_role("link").click()

    await expect(attendant.page.get_by_role("heading", name=MARKUP)).to_be_visible()
    assert await attendant.page.locator("main img").count() == 0


async def test_the_console_goes_on_when_it_comes_back(attend: Attend, stack: LocalStack) -> None:
    attendant = await attend(at="#audit")
    await attendant.sign_in()
    await stack.stop_service("console")
    await attendant.page.get_by_label("Outcome", exact=True).select_option("refused")
    audit = attendant.page.locator("#audit")
    await expect(audit).to_contain_text("The console cannot be reached. Try again in a moment.")
    await attendant.look("away")

    await stack.start_service("console")
    await attendant.button("Try again", audit).click()

    await expect(audit.get_by_role("row").first).to_be_visible()
    away = ("net::ERR", "status of 503")
    attendant.amiss[:] = [each for each in attendant.amiss if not any(a in each for a in away)]
