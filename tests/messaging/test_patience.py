"""How long deliveries are held on to that came on several channels."""

import asyncio

import pytest

from auth.errors import TrustUnavailableError
from messaging.patience import GivenUpError, Patience
from tests.messaging.raw import WAIT


class Step:
    """Fails for want of trust until there is some."""

    def __init__(self) -> None:
        self.tries = 0
        self.trusted = False
        self.tried = asyncio.Event()

    async def __call__(self) -> str:
        self.tries += 1
        self.tried.set()
        if not self.trusted:
            raise TrustUnavailableError("the feed is silent")
        return "done"


async def test_one_lost_channel_of_two_is_no_reason_to_give_up() -> None:
    step, lost, other = Step(), asyncio.Event(), asyncio.Event()
    insisting = asyncio.create_task(Patience(asyncio.Event(), {lost, other}).insist(step))
    await step.tried.wait()

    lost.set()
    step.trusted = True

    async with asyncio.timeout(WAIT):
        assert await insisting == "done"


@pytest.mark.parametrize("end", ["all channels lost", "shutdown"])
async def test_nobody_insists_beyond_the_end(end: str) -> None:
    step, shutdown, losses = Step(), asyncio.Event(), [asyncio.Event(), asyncio.Event()]
    insisting = asyncio.create_task(Patience(shutdown, losses).insist(step))
    await step.tried.wait()

    for event in losses if end == "all channels lost" else [shutdown]:
        event.set()

    async with asyncio.timeout(WAIT):
        with pytest.raises(GivenUpError):
            await insisting
