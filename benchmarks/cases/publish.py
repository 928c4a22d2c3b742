"""Publish: orders confirmed by the broker, so many in flight, ours sealed and theirs not."""

from functools import partial
from typing import Final

from benchmarks import filling
from benchmarks.contender import Job, Run
from benchmarks.harness import Bench, ContenderError
from benchmarks.letters import make_carnets, write_carnets
from services.contracts.topology import GATEWAY, ORDERS_COMMANDS
from services.local.logins import OPERATOR

IN_FLIGHT: Final = 500
SESSIONS: Final = 50


async def run(bench: Bench) -> None:
    carnets = bench.fresh_path("carnets.json")
    write_carnets(make_carnets(bench.keys, SESSIONS), carnets)
    options = {"state": str(bench.state), "carnets": str(carnets), "in_flight": IN_FLIGHT}
    queue, count = ORDERS_COMMANDS.name, bench.settings.messages

    async def publish(module: str, login: str) -> Run:
        job = Job(bench.broker.url(login), queue, count, options)
        published = await bench.run_program(module, job)
        if (arrived := await filling.purge(bench.operator, queue)) != count:
            raise ContenderError(f"{arrived} of {count} messages of {module} have arrived")
        return published

    runs = await bench.side_by_side(
        "publish",
        {
            "sealed": partial(publish, "benchmarks.ours.publish", GATEWAY),
            "unsealed": partial(publish, "benchmarks.peers.handwritten_publish", OPERATOR),
        },
    )
    bench.ratio("publish.sealed_over_unsealed", runs["sealed"], runs["unsealed"])
