"""What a killed run left is ended; what merely has its number is not."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from services.local.errors import StateInUseError
from services.local.leftovers import Started, end_leftovers, record, sole_use

MARK = "--this-is-ours"
PATIENT = "import sys; print('runs', flush=True); sys.stdin.read()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PATIENT}"

Start = Callable[[str], Awaitable[Process]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Run Python code under our mark; return when it runs."""
    started = []

    async def start(code: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, MARK), stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        started.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"runs\n"
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def is_empty(folder: Path) -> bool:
    return not [*folder.iterdir()]


@pytest.mark.parametrize("code", [PATIENT, STUBBORN], ids=["obedient", "stubborn"])
async def test_a_leftover_is_ended_and_forgotten(start: Start, tmp_path: Path, code: str) -> None:
    process = await start(code)
    record(tmp_path / "record", [Started(process.pid, MARK)])

    await end_leftovers(tmp_path / "record", within=0.5)

    assert await asyncio.wait_for(process.wait(), 5) < 0
    assert is_empty(tmp_path)


async def test_a_process_that_was_given_the_number_since_is_left_alone(
    start: Start, tmp_path: Path
) -> None:
    process = await start(PATIENT)
    record(tmp_path / "record", [Started(process.pid, "the mark of another")])

    await end_leftovers(tmp_path / "record", within=0.5)

    assert process.returncode is None
    assert Started(process.pid, MARK).runs()


async def test_a_leftover_that_has_ended_is_forgotten(start: Start, tmp_path: Path) -> None:
    process = await start("print('runs', flush=True)")
    await process.wait()
    record(tmp_path / "record", [Started(process.pid, MARK)])

    await end_leftovers(tmp_path / "record", within=0.5)

    assert is_empty(tmp_path)


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with sole_use(tmp_path), pytest.raises(StateInUseError), sole_use(tmp_path):
        pass

    with sole_use(tmp_path):
        pass
