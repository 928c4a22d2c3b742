"""The tutorial, followed block by block in an empty folder; what comes out is examples/billing."""

import asyncio
import contextlib
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pytest

from services.local.ports import free_ports

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "tutorial.md"
EXAMPLE: Final = ROOT / "examples" / "billing"
GATEWAY: Final = "http://127.0.0.1:8000"
BLOCK: Final = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITHIN: Final = 240.0
"""Seconds that one block may take; the longest starts a broker and four services."""

DONE: Final = "-- done --"


@dataclass(frozen=True)
class Block:
    """A block of the page: a file to write, lines to run, or what a terminal goes on to do."""

    language: str
    info: str
    text: str

    @property
    def file(self) -> str | None:
        """Where it is to be written."""
        return self.info if self.language != "sh" and self.info else None

    @property
    def until(self) -> str | None:
        """What another terminal says once it does what it is started for."""
        return self.info.partition("until: ")[2] or None


def blocks() -> Iterator[Block]:
    for language, info, text in BLOCK.findall(PAGE.read_text()):
        yield Block(language, info, text)


class Terminal:
    """A shell that goes on from block to block."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, environment: dict[str, str], log: Path
    ) -> AsyncIterator[Self]:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-eu"),
                cwd=folder,
                env=environment,
                stdin=PIPE,
                stdout=output,
                stderr=STDOUT,
            )
        try:
            yield cls(process, log)
        finally:
            await _end(process)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    async def run(self, text: str) -> None:
        """Do what the block says, to its end."""
        before = self.said.count(DONE)
        await self.start(text)
        await self.until_said(DONE, before + 1)

    async def start(self, text: str) -> None:
        assert self._process.stdin is not None
        # What a command reads is nothing: not the rest of what is to be done.
        self._process.stdin.write(f"{{ {text}\n}} </dev/null\necho '{DONE}'\n".encode())
        await self._process.stdin.drain()

    async def until_said(self, wanted: str, times: int = 1) -> None:
        async with asyncio.timeout(WITHIN):
            while self.said.count(wanted) < times:
                assert self._process.returncode is None, self.said
                await asyncio.sleep(0.05)


async def _end(process: Process) -> None:
    """As Ctrl-C does for all that runs in the terminal, then closing it."""
    for child in _children(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 2)
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(60):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def environment(port: int) -> dict[str, str]:
    """As of somebody who has `carnet` on the path, and nothing set for it but a free port."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CARNET_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CARNET_PORT": str(port),
        "PYTEST_ADDOPTS": "-p no:schemathesis -p no:cacheprovider",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="how a terminal is ended: Linux")
@pytest.mark.timeout(900)
async def test_the_tutorial_leads_to_the_example(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    logs = tmp_path / "logs"
    folder = tmp_path / "work"
    logs.mkdir()
    folder.mkdir()
    terminals: list[Terminal] = []

    async with AsyncExitStack() as opened:

        async def another() -> Terminal:
            log = logs / f"terminal-{len(terminals) + 1}.log"
            terminal = await opened.enter_async_context(
                Terminal.open(folder, environment(port), log)
            )
            terminals.append(terminal)
            return terminal

        first = await another()
        for block in blocks():
            text = block.text.replace(GATEWAY, f"http://127.0.0.1:{port}")
            if block.file is not None:
                (folder / block.file).write_text(text)
            elif block.language == "sh" and block.until is None:
                await first.run(text)
            elif block.language == "sh" and block.until is not None:
                terminal = await another()
                await terminal.start(text)
                await terminal.until_said(block.until)

        service = terminals[-1]
        await service.until_said("invoiced")
        await service.until_said("refunded")
        assert '"cancelled"' in first.said
    assert files(folder / "billing") == files(EXAMPLE)


def files(folder: Path) -> dict[str, str]:
    """What lies in a folder, but for what Python leaves there."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
