"""Growth: Carnet's consumer where much is at its largest, beside itself at the smallest.

What is compared is messages a second, but for long bodies: bytes a second. Workers share one
PostgreSQL, as replicas of a service do.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import asyncpg

from auth.known import REMEMBERED
from benchmarks import filling
from benchmarks.contender import PREFETCH, Job, Run
from benchmarks.harness import Bench, Contender
from benchmarks.letters import Letter, add_keys
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS
from services.local.logins import OPERATOR

MODULE: Final = "benchmarks.ours.consume"
LIMIT: Final = "benchmarks.peers.limit"
QUEUE: Final = ORDERS_COMMANDS.name
DEEP: Final = "bench.deep"
FEW: Final = 10
LOOK: Final = 0.05
SMALL_BODY: Final = 200
LONG_BODIES: Final = 10
"""So many fewer messages where they are long."""


async def run(bench: Bench) -> None:
    alike = () if bench.settings.quick else (_sessions, _revocations, _body)
    for grow in (*alike, _keys, _depth, _workers):
        await grow(bench)


async def _consume(bench: Bench, letters: list[Letter], **options: Any) -> Run:
    return await bench.consumer(MODULE, ORDER_SERVICE, QUEUE, letters, **bench.ours(**options))


async def _consume_later_half(bench: Bench, letters: list[Letter]) -> Run:
    """All of them; measured is the second half, of which the broker's share cannot be told."""
    return replace(await _consume(bench, letters, before=len(letters) // 2), broker=None)


async def _compare(
    bench: Bench, what: str, smallest: Callable[[], Awaitable[Run]], largest: Contender
) -> dict[str, list[Run]]:
    case = f"growth.{what}"
    runs = await bench.side_by_side(case, {"smallest": smallest, "largest": largest})
    bench.ratio(case, runs["largest"], runs["smallest"])
    return runs


async def _sessions(bench: Bench) -> None:
    """As many messages as sessions, after as many that are not measured, in turn of each session.

    `largest`: each session has sent one before. `first`: none has, and nothing comes before.
    `smallest`: as `largest`, of few sessions.
    """
    most = bench.settings.sessions
    few = await bench.letters(2 * most, sessions=FEW)
    many = await bench.letters(2 * most, sessions=most)
    bench.record({"growth.sessions.largest": most, "growth.sessions.remembered": REMEMBERED})
    runs = await bench.side_by_side(
        "growth.sessions",
        {
            "smallest": partial(_consume_later_half, bench, few),
            "largest": partial(_consume_later_half, bench, many),
            "first": partial(_consume, bench, many[:most]),
        },
    )
    bench.ratio("growth.sessions", runs["largest"], runs["smallest"])
    bench.ratio("growth.sessions_first", runs["first"], runs["smallest"])


async def _revocations(bench: Bench) -> None:
    letters = await bench.letters(bench.settings.longer, sessions=FEW)
    most = bench.settings.revocations
    bench.record({"growth.revocations.largest": most})
    await _compare(
        bench,
        "revocations",
        partial(_consume, bench, letters),
        partial(_consume, bench, letters, revocations=most),
    )


async def _keys(bench: Bench) -> None:
    """As many active keys of the issuer's, and of the gateway's; each signs its share."""
    count = bench.settings.longer
    keys = add_keys(bench.state, bench.settings.keys)
    few = await bench.letters(count, sessions=FEW)
    many = await bench.letters(count, sessions=2 * bench.settings.keys, keys=keys)
    bench.record({"growth.keys.largest": bench.settings.keys})
    await _compare(
        bench,
        "keys",
        partial(_consume, bench, few),
        partial(_consume, bench, many, statement=keys.statement),
    )


async def _depth(bench: Bench) -> None:
    """The smallest depth is what is consumed, and no more.

    It is filled once, with the same letters again and again: those of one round follow on each
    other, so all differ, and each round has an inbox of its own.

    `limit`: the client library with no work, at both depths: what the broker makes of it.
    """
    count, depth = bench.settings.longer, bench.settings.depth
    letters = await bench.letters(count, sessions=FEW)
    bench.record({"growth.depth.largest": depth})
    await filling.make_queue(bench.operator, DEEP)
    await filling.fill(bench.operator, DEEP, letters, times=math.ceil(depth / count))

    async def deep(module: str, **options: Any) -> Run:
        job = Job(bench.broker.url(OPERATOR), DEEP, count, options)
        measured = await bench.run_program(module, job)
        # What was handed out ahead is back at the head, marked as redelivered: not for others.
        await filling.take(bench.operator, DEEP, PREFETCH)
        await filling.fill(bench.operator, DEEP, letters)
        return measured

    runs = await bench.side_by_side(
        "growth.depth",
        {
            "smallest": partial(_consume, bench, letters),
            "largest": lambda: deep(MODULE, **bench.ours()),
            "limit_smallest": partial(bench.consumer, LIMIT, OPERATOR, QUEUE, letters),
            "limit_largest": partial(deep, LIMIT),
        },
    )
    bench.ratio("growth.depth", runs["largest"], runs["smallest"])
    bench.ratio("growth.depth_limit", runs["limit_largest"], runs["limit_smallest"])
    await filling.purge(bench.operator, DEEP)


async def _body(bench: Bench) -> None:
    """In bytes a second; `growth.body_messages` is the same in messages."""
    settings = bench.settings
    short = await bench.letters(settings.messages, sessions=FEW, body_size=SMALL_BODY)
    fewer = max(100, settings.messages // LONG_BODIES)
    long = await bench.letters(fewer, sessions=FEW, body_size=settings.body)
    runs = await _compare(
        bench,
        "body",
        partial(_consume, bench, short, bulk=True),
        partial(_consume, bench, long, bulk=True),
    )
    bench.ratio("growth.body_messages", runs["largest"], runs["smallest"])
    in_bytes = {
        name: [replace(run, handled=run.handled * size) for run in runs[name]]
        for name, size in (("smallest", SMALL_BODY), ("largest", settings.body))
    }
    bench.ratio("growth.body", in_bytes["largest"], in_bytes["smallest"])
    bench.record({"growth.body.largest": settings.body})


async def _workers(bench: Bench) -> None:
    if not await bench.has_postgres():
        return
    settings = bench.settings
    letters = await bench.letters(settings.messages, sessions=FEW)
    bench.record({"growth.workers.largest": settings.workers})

    async def work(workers: int) -> Run:
        async with bench.postgres.fresh_database() as url:
            await filling.fill(bench.operator, QUEUE, letters)
            job = Job(
                bench.broker.url(ORDER_SERVICE), QUEUE, 0, bench.ours(database=url, alone=True)
            )
            measured = await bench.run_together(
                MODULE, job, workers, done=partial(_until_all_are_in, url, len(letters))
            )
        await bench.check_taken("the workers", QUEUE)
        return measured

    await _compare(bench, "workers", partial(work, 1), partial(work, settings.workers))


async def _until_all_are_in(database: str, count: int) -> None:
    """Wait for so many rows in the inbox of a PostgreSQL database."""
    connection = await asyncpg.connect(database.replace("+asyncpg", ""))
    try:
        while (  # noqa: ASYNC110 - the database tells nobody
            await connection.fetchval("SELECT count(*) FROM inbox") < count
        ):
            await asyncio.sleep(LOOK)
    finally:
        await connection.close()
