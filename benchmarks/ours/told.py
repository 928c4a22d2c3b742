"""A program under measurement that is told what to do: JSON in, JSON out, a line each."""

import asyncio
import json
import sys
from typing import Any


async def next_order() -> dict[str, Any] | None:
    """What to do next; None when nobody tells any more."""
    line = await asyncio.to_thread(sys.stdin.readline)
    order: dict[str, Any] | None = json.loads(line) if line.strip() else None
    return order


def answer(**figures: object) -> None:
    """Say what came of it."""
    print(json.dumps(figures), flush=True)
