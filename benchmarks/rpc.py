"""What a hundred calls at once cost, and how punctually they end when their server dies.

    python -m benchmarks.rpc [ROUNDS]

Two processes on a broker of their own: this one calls with the gateway's keys, the other one
answers with the user service's, after 100 ms of waiting. At last another one, which answers
nothing, is killed with a hundred calls in hand.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import uvloop

from auth.encryption import DecryptionKey
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.policy import public
from auth.seal import Sealer
from auth.trust import FixedTrust
from auth.verifier import Verifier
from benchmarks import results
from messaging.broker import Broker
from messaging.publisher import Publisher
from messaging.rpc import Caller, RpcClient, RpcParts, RpcServer, RpcTimeoutError
from services.contracts.topology import GATEWAY, USER_SERVICE, USERS_RPC
from services.contracts.users import GetKeySet, KeySetStatement
from services.local.broker import open_broker
from services.local.trust import make_local_trust
from services.logs import configure_logging

CALLS: Final = 100
TAKES: Final = 0.1
ROUNDS: Final = 10
DEADLINE: Final = 5.0
PATIENCE: Final = 60.0
NEVER: Final = "never"
"""In the place of `TAKES`: a server that answers nothing."""


def trust_of(state: Path) -> FixedTrust:
    root = TrustRoot.from_json((state / "trust-root.json").read_bytes())
    return FixedTrust(root.verify((state / "key-set.jwt").read_text(), now=time.time()))


async def serve(state: Path, url: str, takes: str) -> None:
    """Answer until killed; say on standard output when it can, and when a hundred are in hand."""
    trust, keys = trust_of(state), state / "keys" / USER_SERVICE
    broker = await Broker(url, name="rpc server").start(PATIENCE)
    server = RpcServer(USERS_RPC)
    in_hand = 0

    async def answer(_request: GetKeySet, _caller: Caller) -> KeySetStatement:
        nonlocal in_hand
        in_hand += 1
        if takes == NEVER:
            if in_hand == CALLS:
                print("all in hand", flush=True)
            await asyncio.Event().wait()
        await asyncio.sleep(float(takes))
        return KeySetStatement(statement="x")

    server.answers(GetKeySet, public())(answer)
    parts = RpcParts(
        broker=broker,
        publisher=Publisher(broker, client_id=USER_SERVICE),
        sealer=Sealer(USER_SERVICE, SigningKey.load(keys / "seal.pem")),
        verifier=Verifier(trust, audience=USER_SERVICE),
        trust=trust,
        decryption=DecryptionKey.load(keys / "enc.pem"),
        clock=time.time,
    )
    shutdown = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        running.create_task(server.run(parts, shutdown))
        async with asyncio.timeout(PATIENCE):
            while not server.ready:  # noqa: ASYNC110 - it says nothing by itself
                await asyncio.sleep(0.01)
        print("ready", flush=True)


@asynccontextmanager
async def server_process(state: Path, url: str, takes: str) -> AsyncIterator[Process]:
    """The other process; killed at the end if it still runs."""
    command = ("-m", "benchmarks.rpc", "serve", str(state), url, takes)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def calling(state: Path, url: str) -> AsyncIterator[RpcClient]:
    """A client of the gateway's."""
    trust, keys = trust_of(state), state / "keys" / GATEWAY
    broker = await Broker(url, name="rpc client").start(PATIENCE)
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
    yield client
    await client.close()
    await broker.close(PATIENCE)


async def ask(client: RpcClient, deadline: float) -> None:
    await client.call(GetKeySet(), responder=USER_SERVICE, deadline=deadline)


async def together(client: RpcClient, rounds: int) -> list[float]:
    """Seconds that each round of a hundred calls took."""
    await ask(client, PATIENCE)  # until the server is there
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        await asyncio.gather(*(ask(client, PATIENCE) for _ in range(CALLS)))
        seconds.append(time.perf_counter() - began)
    return seconds


async def abandoned(client: RpcClient, server: Process) -> list[float]:
    """Seconds after its deadline at which each call of a dead server's ended."""

    async def late() -> float:
        end = time.perf_counter() + DEADLINE
        try:
            await ask(client, DEADLINE)
        except RpcTimeoutError:
            return time.perf_counter() - end
        raise AssertionError("a dead server has answered")

    calls = [asyncio.create_task(late()) for _ in range(CALLS)]
    with suppress(TimeoutError):  # some did not even get there: they end all the same
        async with asyncio.timeout(DEADLINE / 2):
            await _line(server, b"all in hand\n")
    server.kill()
    return await asyncio.gather(*calls)


async def _line(server: Process, wanted: bytes) -> None:
    """Wait until the server says this."""
    if server.stdout is None:
        raise ValueError("nobody listens to the server")
    while (line := await server.stdout.readline()) != wanted:
        if not line:
            raise EOFError("the server has ended by itself")


async def measure(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="carnet-bench-") as folder:
        state = Path(folder)
        await asyncio.to_thread(make_local_trust, state, None)
        broker = await open_broker(state / "broker", given_url=None, tokens=None, say=print)
        try:
            async with calling(state, broker.url(GATEWAY)) as client:
                async with server_process(state, broker.url(USER_SERVICE), str(TAKES)):
                    seconds = await together(client, rounds)
                async with server_process(state, broker.url(USER_SERVICE), NEVER) as server:
                    await _line(server, b"ready\n")
                    lateness = await abandoned(client, server)
        finally:
            await broker.discard()
    results.record({"rpc.concurrent_100_of_100ms_s": statistics.median(seconds)})
    print(f"{CALLS} calls at once of {TAKES * 1000:.0f} ms each, {rounds} rounds")
    print(f"  median {statistics.median(seconds):6.3f} s, slowest {max(seconds):6.3f} s")
    print(f"{CALLS} calls with {DEADLINE:g} s, and their server killed")
    print(f"  ended {min(lateness) * 1000:.0f} to {max(lateness) * 1000:.0f} ms after the deadline")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["serve"]:
        configure_logging(service="rpc server", log_format="console", level="error")
        _, _, state, url, takes = sys.argv
        uvloop.run(serve(Path(state), url, takes))
        return
    configure_logging(service="bench", log_format="console", level="error")
    uvloop.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))


if __name__ == "__main__":
    main()
