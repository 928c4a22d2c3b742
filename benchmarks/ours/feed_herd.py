"""Relying parties that ask for what they have missed, as after a loss of the broker, all at once.

Each has a reply queue of its own; real requests and replies, sealed both ways. Told `{"after":
NUMBER}` each waits for its share of the jitter, asks for the page after that number until it has
it, and the answer says how long that took, and how many tries were too late.
"""

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import uvloop

from auth.encryption import DecryptionKey
from auth.keys import SigningKey
from auth.seal import Sealer
from auth.verifier import Verifier
from benchmarks.contender import READY, Job
from benchmarks.ours.feed_listeners import CONNECTIONS, DEADLINE, WITHIN
from benchmarks.ours.service import PATIENCE, quiet
from benchmarks.ours.told import answer, next_order
from benchmarks.rpc import trust_of
from messaging.broker import Broker
from messaging.errors import MessagingError
from messaging.pause import Backoff
from messaging.publisher import Publisher
from messaging.rpc import RpcClient
from messaging.trust import JITTER
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.contracts.users import GetRevocations

AT_ONCE: Final = 25
RANDOM: Final = secrets.SystemRandom()


class Herd:
    def __init__(self) -> None:
        self.clients: list[RpcClient] = []
        self.late = 0

    async def join(self, state: Path, broker: Broker) -> None:
        trust, keys = trust_of(state), state / "keys" / GATEWAY
        client = RpcClient(
            broker,
            Publisher(broker, client_id=GATEWAY),
            Sealer(GATEWAY, SigningKey.load(keys / "seal.pem")),
            Verifier(trust, audience=GATEWAY),
            trust=trust,
            decryption=DecryptionKey.load(keys / "enc.pem"),
            clock=time.time,
        )
        await client.start(PATIENCE)
        self.clients.append(client)

    async def ask(self, after: int) -> list[float]:
        """Seconds until each had its page, sorted."""
        async with asyncio.timeout(WITHIN):
            return sorted(
                await asyncio.gather(*(self._ask(client, after) for client in self.clients))
            )

    async def _ask(self, client: RpcClient, after: int) -> float:
        began, backoff = time.monotonic(), Backoff()
        await asyncio.sleep(RANDOM.uniform(0, JITTER))  # as `messaging.trust` does
        while True:
            try:
                await client.call(
                    GetRevocations(after=after), responder=USER_SERVICE, deadline=DEADLINE
                )
            except MessagingError:
                self.late += 1
                await backoff.pause(asyncio.Event())
            else:
                return time.monotonic() - began


async def run(job: Job) -> None:
    state, herd, at_once = Path(job.options["state"]), Herd(), asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as open_:
        brokers = []
        for number in range(CONNECTIONS):
            brokers.append(await Broker(job.url, name=f"herd {number}").start(PATIENCE))
            open_.push_async_callback(brokers[-1].close, PATIENCE)

        async def join(number: int) -> None:
            async with at_once:
                await herd.join(state, brokers[number % len(brokers)])

        await asyncio.gather(*(join(number) for number in range(job.count)))
        print(READY, flush=True)
        while order := await next_order():
            began, herd.late = time.process_time(), 0
            seconds = await herd.ask(order["after"])
            answer(
                p50_s=seconds[len(seconds) // 2],
                last_s=seconds[-1],
                late=herd.late,
                cpu=time.process_time() - began,
            )
        await asyncio.gather(*(client.close() for client in herd.clients))


if __name__ == "__main__":
    quiet()
    uvloop.run(run(Job.read()))
