"""Something done to many dead letters: a bar while it runs, and what became of each."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from messaging.deadletters import Held, Reading
from messaging.letters import Letter
from messaging.rpc import RpcRefusedError
from services.cli.progress import bar

AT_ONCE: Final = 16
"""Letters in work at the same time."""


@dataclass(slots=True)
class Tally:
    """What became of the letters: how many were done, and the codes of those that were not."""

    done: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    """The first few: which letter, and why not."""


async def each(
    reading: Reading,
    wanted: Callable[[Letter], bool],
    do: Callable[[Held], Awaitable[None]],
    *,
    what: str,
    name: Callable[[Letter], str],
) -> Tally:
    """Do it to each letter that is wanted; one that is refused stays where it is.

    Broken off at any point, the same again goes on where this has stopped.
    """
    tally = Tally()
    room = asyncio.Semaphore(AT_ONCE)

    async def one(held: Held) -> None:
        try:
            await do(held)
            tally.done += 1
        except RpcRefusedError as refusal:
            tally.refused[refusal.code] += 1
            if len(tally.refusals) < AT_ONCE:
                tally.refusals.append((name(held.letter), f"{refusal.code}: {refusal.detail}"))
        finally:
            room.release()

    with bar() as shown:
        task = shown.add_task(what, total=reading.total)
        async with asyncio.TaskGroup() as running:
            async for held in reading.letters():
                shown.advance(task)
                if wanted(held.letter):
                    await room.acquire()
                    running.create_task(one(held))
    return tally
