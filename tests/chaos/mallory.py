"""Who can read and write the broker: copies what passes, forges it, and sends it again.

What is forged must have no effect; what is sent again, unchanged, must have none either.
"""

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from typing import Final

import aio_pika

from auth.errors import AuthError
from auth.keyset import KeySet
from auth.message import AUTHORIZATION, CARNET_SEAL, Route
from messaging.broker import Broker
from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.errors import MessagingError
from messaging.publisher import Publisher
from messaging.subscription import Subscription, listening_queue
from messaging.topology import COMMANDS, EVENTS
from services.contracts.topology import PLACE_ORDER
from services.demo.forgeries import Captured, ForgersKeys, five_forgeries
from tests.chaos.ledger import Forged, Ledger

KEPT: Final = 300
FORGE_EVERY: Final = 1.5
WITHIN: Final = 10.0

ALL_EVENTS: Final = "chaos.events"
"""The queue that keeps every event, for the audit."""


async def keep_events(url: str) -> None:
    """Have every event that is published from now on kept on the broker."""
    connection = await aio_pika.connect(url, timeout=WITHIN)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(
            ALL_EVENTS, durable=True, arguments={"x-queue-type": "quorum"}
        )
        await queue.bind(EVENTS.name, "#")


class Mallory:
    """Taps `carnet.commands` from `start` to `stop`, and forges all the while."""

    def __init__(self, url: str, key_set: KeySet, keys: ForgersKeys, ledger: Ledger) -> None:
        self._broker = Broker(url, name="mallory")
        self._publisher = Publisher(self._broker, client_id="mallory")
        self._tap = Subscription(
            self._broker, listening_queue("carnet.mallory", COMMANDS, ["#"]), prefetch=100
        )
        self._key_set = key_set
        self._keys = keys
        self._ledger = ledger
        self._copies: deque[Delivery] = deque(maxlen=KEPT)
        self._ours: set[tuple[object, object, bytes]] = set()
        self._shutdown = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._broker.start(WITHIN)
        self._tasks = [
            asyncio.create_task(self._tap.run(self._shutdown)),
            asyncio.create_task(self._copy()),
            asyncio.create_task(self._forge()),
        ]

    async def rest(self) -> None:
        """Forge no more."""
        self._tasks[-1].cancel()
        await asyncio.gather(self._tasks[-1], return_exceptions=True)

    async def stop(self) -> None:
        self._shutdown.set()
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tap.close()
        await self._broker.close(WITHIN)

    async def send_again(self, rng: random.Random, *, count: int, times: int) -> int:
        """Publish copies of messages that passed, each so many times; how many the broker took."""
        copies = list(self._copies)
        taken = 0
        for copy in rng.sample(copies, min(count, len(copies))):
            key = str(copy.type).rpartition(".")[0]
            route = Route(COMMANDS.name, key, str(copy.type))
            headers = {name: str(value) for name, value in copy.headers.items()}
            for _ in range(times):
                taken += await self._publish(Envelope(route, copy.body, headers))
        self._ledger.duplicated += taken
        return taken

    async def _copy(self) -> None:
        while (delivery := await self._tap.next()) is not None:
            await delivery.ack()
            seal, carnet = (delivery.headers.get(n) for n in (CARNET_SEAL, AUTHORIZATION))
            if (seal, carnet, delivery.body) not in self._ours:
                self._copies.append(delivery)

    async def _forge(self) -> None:
        rng = random.Random()  # noqa: S311 - which message is forged is no secret
        while True:
            await asyncio.sleep(FORGE_EVERY)
            orders = [copy for copy in self._copies if copy.type == PLACE_ORDER.type]
            if len(orders) > 1:
                victim, attacker = map(_captured, rng.sample(orders, 2))
                if victim.carnet == attacker.carnet:
                    continue  # one user's: moved to their other message it is where it belongs
                with suppress(AuthError):
                    await self._forge_from(victim, attacker)

    async def _forge_from(self, victim: Captured, attacker: Captured) -> None:
        issuer = self._key_set.issuer
        for forgery in five_forgeries(victim, attacker, self._keys, issuer=issuer, now=time.time()):
            headers, body = forgery.envelope.headers, forgery.envelope.body
            self._ours.add((headers[CARNET_SEAL], headers[AUTHORIZATION], body))
            self._ledger.forged.append(
                Forged(
                    title=forgery.title,
                    expected=str(forgery.expected),
                    seal=headers[CARNET_SEAL],
                    authorization=headers[AUTHORIZATION],
                    body=body.decode(),
                    confirmed=await self._publish(forgery.envelope),
                )
            )

    async def _publish(self, envelope: Envelope) -> bool:
        try:
            await self._publisher.publish(envelope, deadline=WITHIN)
        except MessagingError:
            return False
        return True


def _captured(copy: Delivery) -> Captured:
    headers = {name: str(value) for name, value in copy.headers.items()}
    return Captured(body=copy.body, headers=headers)
