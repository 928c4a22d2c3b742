"""What lies on the broker, watched by its operator: commands as they pass, and dead letters."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from messaging.broker import Broker
from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.publisher import Publisher
from messaging.subscription import Subscription, listening_queue, shared_queue
from messaging.topology import COMMANDS
from services.contracts.topology import ORDERS_COMMANDS
from services.demo.forgeries import Captured
from services.errors import StartError

DEADLINE = 15.0


class Wiretap:
    """Copies of the commands that pass, and the dead letters; what it reads stays there."""

    def __init__(self, url: str) -> None:
        self._broker = Broker(url, name="carnet-demo")
        self._publisher = Publisher(self._broker, client_id="carnet-demo")
        self._commands = Subscription(
            self._broker, listening_queue("carnet.demo", COMMANDS, ["orders.place"]), prefetch=100
        )
        self._dead = Subscription(self._broker, shared_queue(ORDERS_COMMANDS.dead), prefetch=1000)
        self._shutdown = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._broker.start(DEADLINE)
        self._tasks = [
            asyncio.create_task(subscription.run(self._shutdown))
            for subscription in (self._commands, self._dead)
        ]
        await self._commands.wait_until_ready(DEADLINE)
        await self._dead.wait_until_ready(DEADLINE)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shutdown.set()
        await asyncio.gather(*self._tasks)
        await self._commands.close()
        await self._dead.close()
        await self._broker.close(DEADLINE)

    async def capture(self) -> Captured:
        """The next command that passes, as it lies on the broker."""
        delivery = await _within(self._commands, "command")
        headers = {name: str(value) for name, value in delivery.headers.items()}
        return Captured(body=delivery.body, headers=headers)

    async def publish(self, envelope: Envelope) -> None:
        """Write straight to the broker, past the gateway."""
        await self._publisher.publish(envelope, deadline=DEADLINE)

    async def dead_letter(self, envelope: Envelope) -> Delivery:
        """The dead letter that this very message became."""
        while True:
            delivery = await _within(self._dead, "dead letter")
            same_headers = envelope.headers.items() <= delivery.headers.items()
            if delivery.body == envelope.body and same_headers:
                return delivery


async def _within(subscription: Subscription, what: str) -> Delivery:
    with suppress(TimeoutError):
        async with asyncio.timeout(DEADLINE):
            delivery = await subscription.next()
            if delivery is not None:
                return delivery
    raise StartError(f"no {what} came within {DEADLINE:.0f} s")
