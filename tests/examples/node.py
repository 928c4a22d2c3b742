"""A Node.js example as a process, and what it says: a line of JSON for each thing that happens."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
WITHIN = 30.0
IMPORTER = "order-importer"


class Example:
    """A running example."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, *what: str) -> dict[str, Any]:
        """The next of such things that it says; what it says before is passed over."""
        async with asyncio.timeout(WITHIN):
            assert self._process.stdout is not None
            said = []
            async for line in self._process.stdout:
                said.append(told := json.loads(line))
                if told["what"] in what:
                    return dict(told)
        assert self._process.stderr is not None
        raise AssertionError(f"it ended, having said {said}: {await self._process.stderr.read()!r}")

    async def ends(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(WITHIN):
            return await self._process.wait()

    async def stop(self) -> int:
        """Ask it to end."""
        self._process.terminate()
        return await self.ends()


@asynccontextmanager
async def running(
    name: str, settings: Mapping[str, str], *arguments: str
) -> AsyncIterator[Example]:
    """The example of that name, with these settings and no others of ours."""
    node = shutil.which("node")
    assert node is not None, "run: make examples"
    process = await asyncio.create_subprocess_exec(
        node,
        "src/main.js",
        *arguments,
        cwd=EXAMPLES / name,
        env={"PATH": os.environ["PATH"], **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
