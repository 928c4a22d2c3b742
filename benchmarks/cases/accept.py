"""Accept: `POST /v1/orders` to 202, many connections at once.

Carnet's gateway as it runs in production (a process with its database, its broker login, its live
trust, the user service beside it for the carnets) against the same route that trusts everybody.
Both have their message confirmed by a quorum queue before they answer. The figures of processor
time and memory are the server's.
"""

from functools import partial
from statistics import median
from typing import Final

from benchmarks import filling, web
from benchmarks.contender import Run
from benchmarks.harness import Bench, ContenderError
from services.contracts.topology import ORDERS_COMMANDS
from services.local.stack import LocalStack

QUEUE: Final = ORDERS_COMMANDS.name


async def run(bench: Bench) -> None:
    shares: list[float] = []

    async def put(url: str, tokens: list[str], pid: int, count: int) -> Run:
        run, load = await web.put(bench, url, tokens, count, [pid])
        if (arrived := await filling.purge(bench.operator, QUEUE)) != count:
            raise ContenderError(f"{arrived} of {count} orders have arrived")
        shares.append(load / (run.ended - run.began))
        return run

    async with (
        # No order service: nobody consumes while it is counted what arrives.
        LocalStack(bench.state, broker=bench.broker, only=["users", "gateway"]) as stack,
        web.server(bench, "benchmarks.peers.http_publish") as (trustless, peer),
    ):
        tokens = await web.sign_in(stack.gateway_url, bench.settings.users)
        gateway = stack.processes["gateway"].process.pid
        servers = {"carnet": (stack.gateway_url, gateway), "trustless": (trustless, peer.pid)}
        if not bench.settings.quick:
            for url, pid in servers.values():
                await put(url, tokens, pid, web.WARM)

        runs = await bench.side_by_side(
            "accept",
            {
                name: partial(put, url, tokens, pid, bench.settings.messages)
                for name, (url, pid) in servers.items()
            },
        )
    bench.record({"accept.load_cpu_share": median(shares)})
    bench.ratio("accept.carnet_over_trustless", runs["carnet"], runs["trustless"])
