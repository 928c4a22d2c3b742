"""A browser, and the whole system as processes, with its playground on, and traced."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright, expect

from services.demo.client import ShopClient
from services.local.stack import LocalStack
from tests.browser.visitor import PASSWORD, PATIENCE, SCREENS, Screen, Visitor
from tests.telemetry.collector import Collector

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=PATIENCE)

Visit = Callable[..., Awaitable[Visitor]]


def chromium() -> str:
    """The browser: `CARNET_CHROMIUM`, else the distribution's."""
    named = os.environ.get("CARNET_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.exit("no browser: `make browser` installs Debian's chromium, or set CARNET_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> AsyncIterator[LocalStack]:
    state = tmp_path_factory.mktemp("stack")
    # To its end: a service that a test starts again is traced as it was before.
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        async with LocalStack(state, throwaway=True, playground=True, console=True) as running:
            yield running


@pytest_asyncio.fixture(scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def browser(playwright: Playwright) -> AsyncIterator[Browser]:
    browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
    yield browser
    await browser.close()


@pytest_asyncio.fixture
async def visit(stack: LocalStack, browser: Browser) -> AsyncIterator[Visit]:
    """Opens the page as somebody new, or as a name that exists; nothing may be amiss at its end.

    at: another page's address.
    """
    async with AsyncExitStack() as opened:

        async def visit(
            screen: Screen = SCREENS[0], *, name: str | None = None, at: str | None = None
        ) -> Visitor:
            visitor = await Visitor.open(browser, at or stack.gateway_url, screen, name=name)
            opened.push_async_callback(visitor.leave)
            return visitor

        yield visit


@pytest_asyncio.fixture
async def user(stack: LocalStack) -> str:
    """The name of somebody who has registered, elsewhere."""
    name = f"eve-{secrets.token_hex(5)}"
    async with ShopClient(stack.gateway_url) as client:
        await client.register(name, PASSWORD)
    return name


@pytest_asyncio.fixture
async def visitor(visit: Visit) -> Visitor:
    return await visit()
