"""Consume: orders that lie in a quorum queue, taken by one process, with a handler of no work.

Carnet verifies carnet, seal, revocation and scope, and commits an inbox row for each (SQLite, on
disk) before it acknowledges; a process beside it checks the signatures, and none does for
`carnet_alone`. `carnet_verify` does all but the inbox, alone. The peers do what their name
says. A peer's messages have no seal, so they are shorter.
"""

from functools import partial
from typing import Any, Final

from benchmarks import filling
from benchmarks.contender import Job, Run
from benchmarks.harness import Bench, missing
from benchmarks.letters import Letter, jwk_of_issuer
from benchmarks.peers import celery_keys
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS
from services.local.logins import OPERATOR

FEW: Final = 50
MANY: Final = 5_000
QUEUE: Final = ORDERS_COMMANDS.name
CELERY: Final = "bench.celery"


async def run(bench: Bench) -> None:
    count = bench.settings.longer
    few = await bench.letters(count, sessions=FEW)
    many = await bench.letters(count, sessions=min(MANY, count))
    plain = [letter.unsealed() for letter in few]
    jwk = jwk_of_issuer(bench.keys)

    def ours(module: str, batch: list[Letter], **options: Any) -> Any:
        async def contend() -> Run:
            return await bench.consumer(
                f"benchmarks.ours.{module}", ORDER_SERVICE, QUEUE, batch, **bench.ours(**options)
            )

        return contend

    def peer(module: str, **options: Any) -> Any:
        return partial(
            bench.consumer, f"benchmarks.peers.{module}", OPERATOR, QUEUE, plain, **options
        )

    contenders = {
        "carnet": ours("consume", few),
        "carnet_alone": ours("consume", few, alone=True),
        "carnet_5000_sessions": ours("consume", many),
        "carnet_verify": ours("verify", few),
        "handwritten_unverified": peer("handwritten"),
        "handwritten_pyjwt": peer("handwritten_pyjwt", jwk=jwk),
        "client_limit": peer("limit"),
    }
    if missing("faststream"):
        bench.left_out("FastStream", "it is not installed (make .venv/.bench)")
    else:
        contenders["faststream"] = peer("fast")
        contenders["faststream_pyjwt"] = peer("fast", jwk=jwk)
    if missing("celery"):
        bench.left_out("Celery", "it is not installed (make .venv/.bench)")
    else:
        contenders["celery_auth"] = await _celery(bench)
    runs = await bench.side_by_side("consume", contenders)
    for other in runs.keys() - {"carnet"}:
        name = f"consume.carnet_over_{other.removeprefix('carnet_')}"
        bench.ratio(name, runs["carnet"], runs[other])


async def _celery(bench: Bench) -> Any:
    """Its messages are of its own making: sent once, taken as they are, and put back each round."""
    folder = bench.fresh_path("celery")
    celery_keys.make(folder)
    count, options = bench.settings.longer, {"celery": str(folder)}
    await filling.make_queue(bench.operator, CELERY)
    sending = Job(bench.operator, CELERY, count, options)
    await bench.run_program("benchmarks.peers.celery_auth", sending, arguments=["send"])
    tasks = await filling.take(bench.operator, CELERY, count)

    async def contend() -> Run:
        await filling.fill(bench.operator, CELERY, tasks)
        job = Job(bench.operator, CELERY, count, options)
        work = await bench.run_program("benchmarks.peers.celery_auth", job, arguments=["work"])
        await bench.check_taken("celery", CELERY)
        return work

    return contend
