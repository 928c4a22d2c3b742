"""A child process: logged, awaited, stopped in time."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_asyncio

from services.local.child import Child

OBEDIENT = "print('first'); print('last', flush=True); import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEDIENT}"

Start = Callable[[str], Awaitable[Child]]


@pytest_asyncio.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Run Python code as a child, with an environment of one variable."""
    children = []

    async def start(code: str) -> Child:
        child = await Child.start(
            "child",
            [sys.executable, "-c", code],
            env={"ONLY": "this"},
            cwd=tmp_path,
            log=tmp_path / "child.log",
        )
        children.append(child)
        return child

    yield start
    for child in children:
        await child.kill()


async def wrote(child: Child, text: str) -> bool:
    async def has() -> bool:
        return text in await asyncio.to_thread(child.log.read_text)

    return await child.until(has, every=0.05, within=20)


async def test_it_gets_the_environment_given_and_no_other(start: Start) -> None:
    child = await start("import os; print(sorted(os.environ))")

    assert await child.ended_within(20)

    # Python adds LC_CTYPE where there is no locale (PEP 538).
    assert child.last_line() in {"['ONLY']", "['LC_CTYPE', 'ONLY']"}


async def test_it_ends_by_itself_when_asked_to(start: Start) -> None:
    child = await start(OBEDIENT)
    assert await wrote(child, "last")

    assert await child.stop(within=20)

    assert not child.running
    assert child.last_line() == "last"


async def test_it_is_ended_when_it_does_not(start: Start) -> None:
    child = await start(STUBBORN)
    assert await wrote(child, "last")

    assert not await child.stop(within=0.2)

    assert not child.running


async def test_waiting_for_what_a_dead_child_would_do_ends_with_it(start: Start) -> None:
    child = await start("print('died')")

    async def never() -> bool:
        return False

    assert not await child.until(never, every=0.05, within=60)
    assert not child.running


async def test_a_signal_to_our_terminal_does_not_reach_it(start: Start) -> None:
    child = await start(OBEDIENT)

    assert await wrote(child, "last")
    assert os.getsid(child.process.pid) != os.getsid(0)
