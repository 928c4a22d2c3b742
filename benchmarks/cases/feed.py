"""The trust feed of a thousand relying parties and a million users, on one machine.

Real: the statements, made by the user service's own parts over a database; the broker, with a
queue for each relying party as each makes its own; two whole relying parties; each request for a
snapshot and each reply. Simulated: all other parties only receive and acknowledge, and share a few
connections; and nobody signs in, since what the feed carries comes of how many sign out:
each of the users once a day, and ten thousand at the same moment (a leak of passwords, say).

What is reckoned from what was measured is named so (`…_reckoned`).
"""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from benchmarks.contender import READY, Job
from benchmarks.harness import Bench, ContenderError, next_line, program
from benchmarks.processes import memory, processor_time
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.users.heralding import FEW
from services.users.revocations import REACH

USERS: Final = 1_000_000
SIGN_OUTS: Final = USERS / 86_400
"""A second: each user once a day."""

MODULE: Final = "benchmarks.ours.feed_"
ANSWER_WITHIN: Final = 180.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of each.

    parties: relying parties.   whole: of these, with all their code.   live: revocations in force;
    the issuer's database holds the first of these.   statements: of a kind, timed.
    steady: sessions that end at the pace of all users.   mass: sessions that end together.
    burst: sessions that end one after the other, few enough to be told one by one.
    idle: seconds with heartbeats alone.
    """

    parties: int
    whole: int
    live: tuple[int, ...]
    statements: int
    steady: int
    mass: int
    burst: int
    idle: float


FULL: Final = Size(1_000, 2, (100_000, 1_000_000), 2_000, 150, 10_000, FEW, 10)
QUICK: Final = Size(20, 1, (2_000,), 100, 10, 500, 5, 1)


async def run(bench: Bench) -> None:
    size = QUICK if bench.settings.quick else FULL
    await _party(bench, size)
    async with _told(bench, "issuer", USER_SERVICE, live=size.live[0]) as issuer:
        await _fan_out(bench, size, issuer)
        await _herd(bench, size, issuer)


async def _party(bench: Bench, size: Size) -> None:
    """One relying party, and the issuer's part, without a broker."""
    job = Job("", "", size.statements, {"live": list(size.live)})
    async with program(f"{MODULE}party", job, log=bench.state / "feed-party.log") as process:
        figures: dict[str, float] = json.loads(await next_line(process) or "{}")
    if not figures:
        raise ContenderError("the relying party has measured nothing")
    core = SIGN_OUTS * figures["feed.hear_revocation_us"] + figures["feed.hear_heartbeat_us"] / 2
    octets = SIGN_OUTS * figures["feed.revocation_bytes"] + figures["feed.heartbeat_bytes"] / 2
    _record(
        bench,
        "one relying party",
        {
            **figures,
            "feed.live_steady": SIGN_OUTS * REACH,
            "feed.party_core_percent": core / 1e6 * 100,
            "feed.party_bytes_s": octets,
        },
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """A program that does what it is told, one thing after the other."""

    process: Process
    log: Path

    @property
    def cpu(self) -> float:
        return processor_time(self.process.pid)

    async def do(self, **order: Any) -> dict[str, Any]:
        if self.process.stdin is None:
            raise ContenderError("it cannot be told anything")
        self.process.stdin.write(f"{json.dumps(order)}\n".encode())
        async with asyncio.timeout(ANSWER_WITHIN):
            said: dict[str, Any] = json.loads(await next_line(self.process) or "{}")
        if not said:
            raise ContenderError(f"it ended instead of answering: {self._last_words()}")
        return said

    def _last_words(self) -> str:
        return next(reversed(self.log.read_text(errors="replace").splitlines()), "(nothing)")


@asynccontextmanager
async def _told(
    bench: Bench, what: str, login: str, count: int = 0, **options: Any
) -> AsyncIterator[_Told]:
    log = bench.state / f"feed-{what}.log"
    job = Job(bench.broker.url(login), "", count, bench.ours(**options))
    async with program(f"{MODULE}{what}", job, log=log) as process:
        async with asyncio.timeout(ANSWER_WITHIN):
            if await next_line(process) != READY:
                raise ContenderError(f"{MODULE}{what} did not start; see {log}")
        yield _Told(process, log)
        if process.stdin is not None:
            process.stdin.close()  # there is no more to do: it leaves the broker as it was
        async with asyncio.timeout(ANSWER_WITHIN):
            await process.wait()


class _BrokerClock:
    """The broker's processor time, where it is a process of this machine's that we started."""

    def __init__(self, bench: Bench) -> None:
        self._pid = bench.broker.pid

    def seconds(self) -> float:
        return 0.0 if self._pid is None else processor_time(self._pid)

    def mib(self) -> float:
        return 0.0 if self._pid is None else memory(self._pid, "VmRSS") / 2**20


async def _fan_out(bench: Bench, size: Size, issuer: _Told) -> None:
    clock, light = _BrokerClock(bench), size.parties - size.whole
    before = clock.mib()
    async with _told(bench, "listeners", GATEWAY, light=light, whole=size.whole) as listeners:
        first = await listeners.do(begun=[])
        if first["fresh"] != size.whole or first["held"] < size.live[0]:
            raise ContenderError("the whole relying parties are not complete")
        figures = {
            "feed.parties": size.parties,
            "feed.queues_made_s": first["made_s"],
            "feed.queue_mib_each": max(0.0, clock.mib() - before) / size.parties,
        }
        idle = clock.seconds()
        await asyncio.sleep(size.idle)  # what is measured is this time
        figures["feed.idle_broker_core_percent"] = (clock.seconds() - idle) / size.idle * 100
        orders: tuple[tuple[str, int, dict[str, float]], ...] = (
            ("burst", size.burst, {"end": size.burst, "per_s": 0}),
            ("steady", size.steady, {"end": size.steady, "per_s": SIGN_OUTS}),
            ("mass", size.mass, {"together": size.mass}),
        )
        for name, count, order in orders:
            bench.say(f"{name}: {count:,} sessions end, to {size.parties:,} relying parties")
            ended = await _ended(clock, issuer, listeners, order)
            figures |= {f"feed.{name}_{figure}": number for figure, number in ended.items()}
        figures["feed.one_by_one_s_reckoned"] = figures["feed.burst_deliveries_s"] / size.parties
        last = await listeners.do(begun=[])
        if last["fresh"] != size.whole:
            raise ContenderError("a whole relying party is not fresh any more")
    _record(bench, f"feed to {size.parties} relying parties", figures)


async def _ended(
    clock: _BrokerClock, issuer: _Told, listeners: _Told, order: dict[str, float]
) -> dict[str, float]:
    """End sessions; how late all queues had it, and what it cost the broker and the issuer."""
    broker, own = clock.seconds(), issuer.cpu
    earlier = await listeners.do(begun=[])
    begun = (await issuer.do(**order))["begun"]
    heard = await listeners.do(begun=begun)
    seconds = heard["at"] - begun[0][2]
    deliveries = heard["deliveries"] - earlier["deliveries"]
    return {
        "deliveries": deliveries,
        "deliveries_s": deliveries / seconds,
        "mib_s": (heard["octets"] - earlier["octets"]) / seconds / 2**20,
        "broker_us_each": (clock.seconds() - broker) / deliveries * 1e6,
        "issuer_cpu_s": issuer.cpu - own,
        "p50_ms": heard["p50_s"] * 1e3,
        "p99_ms": heard["p99_s"] * 1e3,
        "last_ms": heard["last_s"] * 1e3,
        "fresh": heard["fresh"],
    }


async def _herd(bench: Bench, size: Size, issuer: _Told) -> None:
    """All parties ask at the same moment: where nothing is missing, and for a whole page."""
    figures: dict[str, float] = {}
    latest = size.live[0] + size.burst + size.steady + size.mass
    async with _told(bench, "herd", GATEWAY, size.parties) as herd:
        for name, after in (("nothing", latest), ("page", 0)):
            bench.say(f"{size.parties} relying parties ask for {name}")
            own = issuer.cpu
            asked = await herd.do(after=after)
            figures |= {
                f"feed.herd_{name}_p50_s": asked["p50_s"],
                f"feed.herd_{name}_last_s": asked["last_s"],
                f"feed.herd_{name}_late": asked["late"],
                f"feed.herd_{name}_own_ms_each": asked["cpu"] / size.parties * 1e3,
                f"feed.herd_{name}_issuer_ms_each": (issuer.cpu - own) / size.parties * 1e3,
            }
    _record(bench, f"{size.parties} relying parties ask at once", figures)


def _record(bench: Bench, title: str, figures: dict[str, float]) -> None:
    bench.record({name: number for name, number in figures.items() if number > 0})
    table = Table("figure", title=title, title_justify="left")
    table.add_column("", justify="right")
    for name, number in figures.items():
        table.add_row(name.removeprefix("feed."), f"{number:,.4g}")
    bench.console.print(table)
