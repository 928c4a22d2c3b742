"""Handlers that act for their callers: what is judged once their carnets are there; their slots."""

import asyncio
import time
from typing import Final

from auth.errors import Code, TrustUnavailableError
from auth.message import VerifiedMessage
from auth.policy import at_acceptance, requires
from auth.principal import Principal
from messaging.consumer import CommandConsumer
from messaging.onward import Onward
from messaging.unit_of_work import UnitOfWork
from tests.messaging.market import ONE_DAY, SELL_SCOPE, WORK, Message, Resell, Sell, sell
from tests.messaging.raw import until
from tests.messaging.stall import Stall

HOP: Final = Onward("courier", frozenset({SELL_SCOPE}))


class Gate:
    """An `OnwardCarnets` that gives none before the gate is open."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.asked = 0

    async def __call__(
        self, message: VerifiedMessage, unverified_carnet: str, unverified_seal: str, hop: Onward
    ) -> str:
        del message, unverified_seal, hop
        self.asked += 1
        await self.opened.wait()
        return unverified_carnet


def _acting(stall: Stall) -> None:
    """From the next `open` on, whoever resells acts for the caller, and whoever sells does not."""

    async def resell(command: Resell, caller: Principal, work: UnitOfWork) -> None:
        await stall._sell(command, caller, work)

    stall.consumer = CommandConsumer(WORK)
    expiry = at_acceptance(ONE_DAY)
    stall.consumer.handles(Sell, requires(SELL_SCOPE), expiry=expiry)(stall._sell)
    stall.consumer.handles(Resell, requires(SELL_SCOPE), expiry=expiry, onward=[HOP])(resell)


async def test_who_is_revoked_while_the_issuer_is_asked_is_refused(stall: Stall) -> None:
    gate, waited = Gate(), 0.0
    _acting(stall)
    await stall.open(onward=gate, clock=lambda: time.time() + waited)
    await stall.send(Message(Resell(what="tea")))
    await until(lambda: gate.asked == 1)

    waited = 1.0
    stall.trust.revocations.revoke_session("session-of-alice-0001", until=int(time.time()) + 900)
    gate.opened.set()

    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.REVOKED
    assert stall.starts == []


async def test_who_has_to_run_alone_does_not_wait_for_an_issuer_that_is_away(stall: Stall) -> None:
    """What is redelivered runs alone: others come neither before nor after it meanwhile."""
    back = asyncio.Event()

    async def away(
        message: VerifiedMessage, unverified_carnet: str, unverified_seal: str, hop: Onward
    ) -> str:
        del message, unverified_seal, hop
        if not back.is_set():
            raise TrustUnavailableError("the issuer does not answer")
        return unverified_carnet

    await stall.send(Message(Resell(what="resold")))
    await stall.raw.until_count(WORK.name, 1)
    queue = await stall.raw.channel.get_queue(WORK.name, ensure=False)
    await (await queue.get()).nack(requeue=True)
    await stall.raw.until_count(WORK.name, 1)
    _acting(stall)
    await stall.open(onward=away)

    await stall.send(sell("tea"))

    await until(lambda: stall.starts == ["tea"])
    back.set()
    await until(lambda: stall.starts == ["tea", "resold"])


async def test_those_who_wait_for_the_issuer_leave_others_their_slots(stall: Stall) -> None:
    """And themselves are no more than half as many at once."""
    gate = Gate()
    _acting(stall)
    await stall.open(onward=gate, concurrency=4)
    await stall.send(*(Message(Resell(what=f"resold-{number}")) for number in range(8)))
    await until(lambda: stall.waiting() == 8)

    await stall.send(sell("tea"))

    await until(lambda: stall.starts == ["tea"])
    assert gate.asked == 2
    gate.opened.set()
    await stall.settled(9)
    assert len(stall.starts) == 9
