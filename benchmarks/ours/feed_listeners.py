"""Many relying parties on the trust feed: each with a queue of its own, made as theirs are.

Most of them only receive and acknowledge; the first few are the whole code of a relying party,
`messaging.trust` with all that it asks for. Told `{"begun": [[FIRST, LAST, SECONDS], …]}` it waits
until each queue has had the revocations with these numbers, and answers how late they were.
"""

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import uvloop

from auth.feed import Feed
from auth.keyset import TrustRoot
from auth.statements import REVOCATION, SNAPSHOT
from benchmarks.contender import READY, Job
from benchmarks.ours.service import PATIENCE, SpoiltError, quiet
from benchmarks.ours.told import answer, next_order
from benchmarks.rpc import calling, trust_of
from messaging.broker import Broker
from messaging.rpc import RpcClient
from messaging.subscription import Subscription, listening_queue
from messaging.topology import TRUST
from messaging.trust import PREFETCH, LiveTrust, TrustSupply
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.contracts.users import GetRevocations

CONNECTIONS: Final = 40
"""Pairs of connections that all of them share; a real party has a pair of its own."""

AT_ONCE: Final = 25
"""Queues that are made at once."""

DEADLINE: Final = 5.0
WITHIN: Final = 150.0


class Listeners:
    """What came to those that only receive."""

    def __init__(self, queues: int) -> None:
        self.deliveries = self.octets = 0
        self._queues = queues
        self._arrived: defaultdict[bytes, list[float]] = defaultdict(list)
        self._told: dict[int, bytes] = {}
        """By number, what told it that has come to every queue."""
        self._some = asyncio.Event()
        self._lost = False

    def lose(self) -> None:
        """One has lost its queue, and with it what was on the way."""
        self._lost = True
        self._some.set()

    async def listen(self, subscription: Subscription) -> None:
        while few := await subscription.next_few(PREFETCH):
            now = time.monotonic()
            for delivery in few:
                self.deliveries += 1
                self.octets += len(delivery.body)
                if delivery.type in {REVOCATION, SNAPSHOT}:
                    self._arrive(delivery.body, now)
            await few[0].registration.ack(few)

    async def lags(self, begun: list[tuple[int, int, float]]) -> list[float]:
        """Seconds from the beginning until each queue had it, sorted.

        begun: first and last number of what was ended together, and when that began.
        """
        numbers = [n for first, last, _ in begun for n in range(first, last + 1)]
        async with asyncio.timeout(WITHIN):
            while not all(number in self._told for number in numbers):
                self._some.clear()
                await self._some.wait()
                if self._lost:
                    raise SpoiltError("a queue was lost: the machine is busy with other things")
        found = {(self._told[n], at) for first, last, at in begun for n in range(first, last + 1)}
        return sorted(arrived - at for body, at in found for arrived in self._arrived[body])

    def _arrive(self, body: bytes, now: float) -> None:
        arrived = self._arrived[body]
        arrived.append(now)
        if len(arrived) == self._queues:
            for number in _numbers(body):
                self._told.setdefault(number, body)
            self._some.set()


def _numbers(body: bytes) -> Iterable[int]:
    """Which revocations a statement tells."""
    payload = body.split(b".")[1]
    claims = json.loads(urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    return range(claims["after"] + 1, claims["upto"] + 1) if "upto" in claims else [claims["seq"]]


async def follow(state: Path, broker: Broker, rpc: RpcClient, shutdown: asyncio.Event) -> LiveTrust:
    """A relying party as the services have it, that is fresh."""

    async def snapshot(after: int) -> str:
        request = GetRevocations(after=after)
        return (await rpc.call(request, responder=USER_SERVICE, deadline=DEADLINE)).snapshot

    async def key_set() -> str:
        return (state / "key-set.jwt").read_text(encoding="ascii").strip()

    root = TrustRoot.from_json((state / "trust-root.json").read_bytes())
    trust = LiveTrust(
        Feed(root, trust_of(state).key_set), broker=broker, client_id=GATEWAY, clock=time.time
    )
    supply = TrustSupply(snapshot, key_set, keep=lambda _: None)
    running = asyncio.create_task(trust.run(supply, shutdown))
    await trust.wait_until_fresh(WITHIN)
    running.add_done_callback(lambda done: done.exception())
    return trust


async def register(
    brokers: list[Broker], count: int, on_lost: Callable[[], None]
) -> list[Subscription]:
    """Have so many queues consumed from."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Subscription:
        source = listening_queue(f"carnet.{GATEWAY}.trust", TRUST, [""])
        broker = brokers[number % len(brokers)]
        subscription = Subscription(broker, source, prefetch=PREFETCH, on_lost=on_lost)
        async with at_once:
            running = asyncio.create_task(subscription.run(FOR_EVER))
            RUNNING.add(running)
            await subscription.wait_until_ready(WITHIN)
        return subscription

    return await asyncio.gather(*(one(number) for number in range(count)))


FOR_EVER: Final = asyncio.Event()
RUNNING: Final[set[asyncio.Task[None]]] = set()


async def run(job: Job) -> None:
    state, light, whole = Path(job.options["state"]), job.options["light"], job.options["whole"]
    listeners, shutdown = Listeners(light), asyncio.Event()
    async with AsyncExitStack() as open_:
        brokers = []
        for number in range(CONNECTIONS):
            brokers.append(await Broker(job.url, name=f"listeners {number}").start(PATIENCE))
            open_.push_async_callback(brokers[-1].close, PATIENCE)
        began = time.monotonic()
        subscriptions = await register(brokers, light, listeners.lose)
        for subscription in subscriptions:
            RUNNING.add(asyncio.create_task(listeners.listen(subscription)))
        seconds = time.monotonic() - began
        rpc = await open_.enter_async_context(calling(state, job.url))
        trusts = [await follow(state, brokers[0], rpc, shutdown) for _ in range(whole)]
        print(READY, flush=True)
        while order := await next_order():
            lags = await listeners.lags(order["begun"]) or [0.0]
            answer(
                made_s=seconds,
                p50_s=lags[len(lags) // 2],
                p99_s=lags[int(0.99 * (len(lags) - 1))],
                last_s=lags[-1],
                deliveries=listeners.deliveries,
                octets=listeners.octets,
                fresh=sum(trust.fresh for trust in trusts),
                held=min(len(trust.revocations) for trust in trusts),
                at=time.monotonic(),
            )
        shutdown.set()
        # Each deletes its queue, which the broker would keep for a minute.
        await asyncio.gather(*(subscription.close() for subscription in subscriptions))


if __name__ == "__main__":
    quiet()
    uvloop.run(run(Job.read()))
