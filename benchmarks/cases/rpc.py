"""RPC: a hundred calls at once of 100 ms each; and the exchange of a token for a carnet.

Carnet's are sealed both ways, and the exchange's bodies encrypted, its answer signed and its entry
in the audit log committed by the user service as it runs in production. The peers echo, unsigned.
"""

import secrets
from functools import partial
from statistics import median
from typing import Final

from benchmarks.contender import READY, Job, Run
from benchmarks.harness import (
    Bench,
    Contender,
    ContenderError,
    missing,
    next_line,
    program,
)
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.local.logins import OPERATOR
from services.local.stack import LocalStack

AT_ONCE: Final = 100
QUICKLY: Final = 10
"""So many, where only is seen whether it works: one peer makes them one after the other."""

TAKES: Final = 0.1
BODY: Final = "x" * 600
"""As long as the token that is exchanged."""

EXCHANGES: Final = 0.4
"""Calls of one run, of the messages of other cases."""


async def run(bench: Bench) -> None:
    peers = {"aio_pika": "benchmarks.peers.rpc_aio_pika"}
    if missing("faststream"):
        bench.left_out("FastStream", "it is not installed (make .venv/.bench)")
    else:
        peers["faststream"] = "benchmarks.peers.rpc_fast"

    def contenders(count: int, takes: float) -> dict[str, Contender]:
        return {name: partial(both, bench, module, count, takes) for name, module in peers.items()}

    calls = QUICKLY if bench.settings.quick else AT_ONCE
    together = await bench.side_by_side(
        "rpc.concurrent",
        {
            "carnet": partial(both, bench, "benchmarks.ours.rpc", calls, TAKES),
            **contenders(calls, TAKES),
        },
    )
    for name, runs in together.items():
        owner = "" if name == "carnet" else f"{name}_"
        seconds = median(run.ended - run.began for run in runs)
        bench.record({f"rpc.{owner}concurrent_100_of_100ms_s": seconds})
    count = int(bench.settings.messages * EXCHANGES)
    async with LocalStack(bench.state, broker=bench.broker, only=["users"]):
        exchanged = await bench.side_by_side(
            "rpc.exchange",
            {"carnet": partial(exchange, bench, count), **contenders(count, 0)},
        )
    for name in peers:
        bench.ratio(f"rpc.exchange_over_{name}_echo", exchanged["carnet"], exchanged[name])


async def both(bench: Bench, module: str, count: int, takes: float) -> Run:
    """Serve in one process, and call from another one."""
    ours = module.startswith("benchmarks.ours")
    options = {"takes": takes, "body": BODY, "in_flight": AT_ONCE, "state": str(bench.state)}
    server, client = (USER_SERVICE, GATEWAY) if ours else (OPERATOR, OPERATOR)
    serving = Job(bench.broker.url(server), "", 0, options)
    calling = Job(bench.broker.url(client), "", count, options)
    log = bench.log_of(module)
    async with program(module, serving, log=log, arguments=["serve"]) as process:
        if await next_line(process) != READY:
            raise ContenderError(f"{module} does not serve; see {log}")
        return await bench.run_program(module, calling, arguments=["call"])


async def exchange(bench: Bench, count: int) -> Run:
    """Call the user service, for carnets of some users made for this run."""
    options = {
        "state": str(bench.state),
        "in_flight": AT_ONCE,
        "password": secrets.token_urlsafe(16),
        "run": secrets.token_hex(4),
        "users": bench.settings.users,
    }
    job = Job(bench.broker.url(GATEWAY), "", count, options)
    return await bench.run_program("benchmarks.ours.rpc", job, arguments=["call"])
