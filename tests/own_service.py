"""The example's service of one's own, declared to a local stack and run beside it."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from services.declared import DECLARED, FILE, read_declared
from services.local.child import Child
from services.local.ports import LOOPBACK
from services.local.running import told
from services.local.service import Service, drain
from services.local.stack import LocalStack

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "billing"
TEXT: Final = (EXAMPLE / FILE).read_text(encoding="utf-8")
BILLING: Final = read_declared(EXAMPLE / FILE)


def declare(state: Path, text: str = TEXT, *, client: str = BILLING.client) -> Path:
    """Have the stack of this folder know it; the file that says so."""
    file = state / DECLARED / f"{client}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@asynccontextmanager
async def billing(stack: LocalStack) -> AsyncIterator[Service]:
    """The service as a process, ready, with what the running stack told it."""
    settings = told(stack.state, BILLING.client)
    assert settings is not None
    process = Service(BILLING.client, stack.state, LOOPBACK, int(settings["CARNET_PORT"]))
    child = await Child.start(
        BILLING.client,
        [sys.executable, "-m", EXAMPLE.name],
        env={**os.environ, **settings},
        cwd=EXAMPLE.parent,
        log=process.log,
    )
    try:
        await process.wait_until_ready(child)
        yield process
    finally:
        await drain(child)
