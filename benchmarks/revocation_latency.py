"""From a sign-out to its effect at ten relying parties, over a running stack.

    python -m benchmarks.revocation_latency [SESSIONS]

Each session is ended over HTTP. The time runs from before the request is sent until a relying
party refuses the session, so it includes HTTP, RPC, the issuer's commit, and the feed.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx

from auth.encryption import DecryptionKey
from auth.explain import decode_unverified
from auth.feed import Feed
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.seal import Sealer
from auth.statements import Revocation
from auth.verifier import Verifier
from benchmarks import results
from messaging.broker import Broker
from messaging.publisher import Publisher
from messaging.rpc import RpcClient
from messaging.trust import LiveTrust, TrustSupply
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.contracts.users import GetKeySet, GetRevocations
from services.demo.client import ShopClient
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from services.logs import configure_logging

SESSIONS: Final = 1000
PARTIES: Final = 10
DEADLINE: Final = 30.0


class Party:
    """A relying party that notes when it hears of what."""

    def __init__(self, stack: LocalStack, sessions: int) -> None:
        """`sessions`: how many it waits for until it is `done`."""
        keys = stack.state / "keys" / GATEWAY
        root = TrustRoot.from_json((stack.state / "trust-root.json").read_bytes())
        key_set = root.verify((stack.state / "key-set.jwt").read_text(), now=time.time())
        self.broker = Broker(stack.amqp_url(OPERATOR), name="relying party")
        self.trust = LiveTrust(
            Feed(root, key_set), broker=self.broker, client_id=GATEWAY, clock=time.time
        )
        self.rpc = RpcClient(
            self.broker,
            Publisher(self.broker, client_id=GATEWAY),
            Sealer(GATEWAY, SigningKey.load(keys / "seal.pem")),
            Verifier(self.trust, audience=GATEWAY),
            trust=self.trust,
            decryption=DecryptionKey.load(keys / "enc.pem"),
            clock=time.time,
        )
        self.felt: dict[str, float] = {}
        self.done = asyncio.Event()
        self._sessions = sessions
        self.trust.on_revoked(self._note)

    def _note(self, revoked: Revocation) -> None:
        if revoked.sid is not None:
            self.felt.setdefault(revoked.sid, time.perf_counter())
        if len(self.felt) == self._sessions:
            self.done.set()

    async def run(self, shutdown: asyncio.Event) -> None:
        async def snapshot(after: int) -> str:
            request = GetRevocations(after=after)
            return (await self.rpc.call(request, responder=USER_SERVICE, deadline=5)).snapshot

        async def key_set() -> str:
            return (await self.rpc.call(GetKeySet(), responder=USER_SERVICE, deadline=5)).statement

        await self.broker.start(DEADLINE)
        await self.rpc.start(DEADLINE)
        await self.trust.run(TrustSupply(snapshot, key_set, keep=lambda _: None), shutdown)
        await self.rpc.close()
        await self.broker.close(DEADLINE)


async def measure(sessions: int) -> list[float]:
    """Seconds from each sign-out to its effect, at each party."""
    with tempfile.TemporaryDirectory(prefix="carnet-bench-") as folder:
        async with LocalStack(Path(folder), throwaway=True) as stack:
            parties = [Party(stack, sessions) for _ in range(PARTIES)]
            shutdown = asyncio.Event()
            running = [asyncio.create_task(party.run(shutdown)) for party in parties]
            for party in parties:
                await party.trust.wait_until_fresh(DEADLINE)
            tokens = await _sign_in(stack, sessions)
            sent: dict[str, float] = {}
            async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=15) as http:
                for sid, token in tokens.items():
                    sent[sid] = time.perf_counter()
                    headers = {"Authorization": f"Bearer {token}"}
                    answer = await http.delete("/v1/sessions/current", headers=headers)
                    answer.raise_for_status()
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*(party.done.wait() for party in parties))
            shutdown.set()
            await asyncio.gather(*running)
            return [party.felt[sid] - at for party in parties for sid, at in sent.items()]


async def _sign_in(stack: LocalStack, sessions: int) -> dict[str, str]:
    """Access tokens by session."""
    async with ShopClient(stack.gateway_url) as client:
        password = "correct horse battery staple"  # noqa: S105 - of a throw-away account
        await client.register("ada", password)
        at_once = asyncio.Semaphore(8)

        async def sign_in() -> str:
            async with at_once:
                return (await client.sign_in("ada", password)).access_token

        tokens = await asyncio.gather(*(sign_in() for _ in range(sessions)))
    return {decode_unverified(token).unverified_claims["sid"]: token for token in tokens}


def main() -> None:
    """Measure and print."""
    configure_logging(service="bench", log_format="console", level="error")
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    seconds = sorted(asyncio.run(measure(sessions)))
    p99 = seconds[int(0.99 * (len(seconds) - 1))]
    results.record({"revocation.p99_ms": p99 * 1000})
    print(f"revocations {sessions:,}, relying parties {PARTIES}")
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        print(f"{name:>6} {seconds[int(share * (len(seconds) - 1))] * 1000:8.1f} ms")
    print(f"   max {seconds[-1] * 1000:8.1f} ms")


if __name__ == "__main__":
    main()
