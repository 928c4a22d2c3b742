"""What an operator does to one dead letter: have it taken after all, or away."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from auth.release import Lift
from messaging.deadletters import Held
from messaging.envelope import Envelope
from messaging.errors import OversizedHeadersError
from messaging.rpc import RpcRefusedError
from services.operations.desk import Desk
from services.operations.verdicts import Judge, Place

PUBLISH: Final = 10.0
"""Seconds for the broker to confirm a released message."""

Settle = Callable[[Held], Awaitable[None]]
"""Raises RpcRefusedError where the letter stays; any other error leaves it in doubt, and there."""


def releasing(desk: Desk, place: Place, lift: tuple[Lift, ...]) -> Settle:
    """Have a letter taken after all, as it was sent: once, however often this is repeated."""

    async def release(held: Held) -> None:
        letter = held.letter
        if not letter.bound:
            raise RpcRefusedError("seal_mismatch", "its seal is of another message")
        stated = await desk.release(letter, lift)
        await _publish(desk, letter.released(place.queue, stated))
        await held.remove()

    return release


def discarding(desk: Desk, place: Place, judge: Judge) -> Settle:
    """Take a letter away; a genuine one is never handled any more."""

    async def discard(held: Held) -> None:
        letter = held.letter
        genuine = judge.genuine(letter, now=time.time())
        stated = await desk.discard(letter, genuine=genuine)
        if stated is not None:
            await _publish(desk, letter.released(place.queue, stated))
        await held.remove()

    return discard


async def _publish(desk: Desk, envelope: Envelope) -> None:
    """Send what the issuer has stated, with the message that it is about.

    Raises:
        RpcRefusedError: somebody has hung so much on the message that there is no room for it.
        PublishError, BrokerError: as `Publisher.publish`.
    """
    try:
        await desk.publisher.publish(envelope, deadline=PUBLISH)
    except OversizedHeadersError as error:  # the fault of this letter, and no other's
        raise RpcRefusedError(error.code, error.detail) from error
