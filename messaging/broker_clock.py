"""The broker's clock as a witness: how far ours is from it.

RabbitMQ tells its time to a plain login in one place only: on a dead letter, when it died
(`x-death`, whole seconds). So we let a message of our own die in a queue of our own: it expires
at once, and comes back through `carnet.clock` with the broker's time on it.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from auth.claims import LEEWAY
from messaging.broker import Broker
from messaging.errors import BrokerUnavailableError
from messaging.findings import Finding, fail, ok, warn
from messaging.link import broker_faults
from messaging.topology import CLOCK

CHECK: Final = "clock"

DOUBTFUL: Final = 5.0
"""Seconds from which on a difference is told."""

WITHIN: Final = 5.0
"""Seconds for the message to come back; a broker that is short of memory takes none."""

CLOSE: Final = 1.0

_EXPIRES: Final = 60_000
"""Milliseconds after which the broker removes a queue that we could not."""


@dataclass(frozen=True, slots=True)
class Skew:
    """How far our clock is ahead of another, in seconds: between these two."""

    low: float
    high: float

    @classmethod
    def between(cls, before: float, second: float, after: float) -> "Skew":
        """The other clock showed `second` (whole) while ours went from `before` to `after`."""
        return cls(before - (second + 1), after - second)

    @property
    def certain(self) -> float:
        """As much of it as is certain; negative where our clock is behind."""
        return max(0.0, self.low) + min(0.0, self.high)


async def examine_clock(
    broker: Broker, *, client_id: str, clock: Callable[[], float], deadline: float = WITHIN
) -> Finding:
    """Compare our clock with the broker's. Beyond the leeway no token would be judged rightly.

    Raises:
        BrokerUnavailableError: the connection is lost.
    """
    if broker.publishing.blocked:
        return _not_taken()
    try:
        skew = await measure_skew(broker, client_id=client_id, clock=clock, deadline=deadline)
    except (ChannelAccessRefused, ChannelNotFoundEntity):
        return warn(
            CHECK,
            f"not compared with the broker's: this login may not use {CLOCK.name}; give it the "
            "rights of this version",
        )
    except BrokerUnavailableError:
        if not broker.publishing.connected:
            raise
        return _not_taken()
    return judge_skew(skew, "the broker's")


def _not_taken() -> Finding:
    return warn(
        CHECK,
        "not compared with the broker's, which takes no message now; is it short of memory or "
        "disk?",
    )


def judge_skew(skew: Skew, whose: str) -> Finding:
    """Whether our clock is near enough to that other one, `whose`."""
    difference = abs(skew.certain)
    side = "ahead of" if skew.certain > 0 else "behind"
    said = f"this machine's clock is {difference:.0f} s {side} {whose}"
    if difference > LEEWAY:
        return fail(CHECK, f"{said}, {LEEWAY} s at most are borne; set both by NTP")
    if difference > DOUBTFUL:
        return warn(CHECK, f"{said}; set both by NTP before it is more than {LEEWAY} s")
    return ok(CHECK, f"agrees with {whose}")


async def measure_skew(
    broker: Broker, *, client_id: str, clock: Callable[[], float], deadline: float
) -> Skew:
    """How far our clock is ahead of the broker's.

    Raises:
        ChannelAccessRefused, ChannelNotFoundEntity: `carnet.clock` is not there, or not for us.
        BrokerUnavailableError: the message did not come back within `deadline` seconds.
    """
    name = f"carnet.{client_id}.clock.{secrets.token_hex(16)}"
    with broker_faults(passing=(ChannelAccessRefused, ChannelNotFoundEntity)):
        channel = await broker.publishing.channel(deadline)
        try:
            async with asyncio.timeout(deadline):
                return await _measure(channel, name, clock)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE):
                    await _clean_up(channel, name)


async def _measure(channel: AbstractChannel, name: str, clock: Callable[[], float]) -> Skew:
    dying, dead = f"{name}.dying", f"{name}.dead"
    await _declare(
        channel,
        dying,
        {
            "x-message-ttl": 0,
            "x-dead-letter-exchange": CLOCK.name,
            "x-dead-letter-routing-key": dead,
        },
    )
    queue = await _declare(channel, dead, {})
    arrived: asyncio.Future[AbstractIncomingMessage] = asyncio.Future()

    async def take(message: AbstractIncomingMessage) -> None:
        if not arrived.done():
            arrived.set_result(message)

    await queue.consume(take, no_ack=True)
    exchange = await channel.get_exchange(CLOCK.name, ensure=False)
    before = clock()
    await exchange.publish(aio_pika.Message(b""), dying)
    death: Any = (await arrived).headers["x-death"]
    return Skew.between(before, death[0]["time"].timestamp(), clock())


async def _declare(
    channel: AbstractChannel, name: str, arguments: dict[str, Any]
) -> aio_pika.abc.AbstractQueue:
    arguments = {"x-queue-type": "classic", "x-expires": _EXPIRES, **arguments}
    queue = await channel.declare_queue(name, exclusive=True, arguments=arguments)
    await queue.bind(CLOCK.name, name)
    return queue


async def _clean_up(channel: AbstractChannel, name: str) -> None:
    if channel.is_closed:  # the broker objected; nothing was made, or it expires
        return
    for queue in (f"{name}.dying", f"{name}.dead"):
        await channel.queue_delete(queue)
    await channel.close()
