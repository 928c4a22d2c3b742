"""Something done to many dead letters, and what became of each."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from messaging.deadletters import Held
from messaging.letters import Letter
from messaging.rpc import RpcRefusedError
from services.operations.letters import Line
from services.operations.settling import Settle

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
    letters: AsyncIterator[Held],
    wanted: Callable[[Letter], bool],
    settle: Settle,
    *,
    seen: Callable[[], None] = lambda: None,
) -> Tally:
    """Do it to each letter that is wanted; one that is refused stays where it is.

    Broken off at any point, the same again goes on where this has stopped.

    letters: of a `Reading`, in their order.
    seen: told of each letter, wanted or not.
    """
    tally = Tally()
    room = asyncio.Semaphore(AT_ONCE)

    async def one(held: Held) -> None:
        try:
            await settle(held)
            tally.done += 1
        except RpcRefusedError as refusal:
            tally.refused[refusal.code] += 1
            if len(tally.refusals) < AT_ONCE:
                name = Line.of(held.letter).id
                tally.refusals.append((name, f"{refusal.code}: {refusal.detail}"))
        finally:
            room.release()

    async with asyncio.TaskGroup() as running:
        async for held in letters:
            seen()
            if wanted(held.letter):
                await room.acquire()
                running.create_task(one(held))
    return tally
