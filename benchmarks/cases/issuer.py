"""What one core of the user service carries: sign-ins, exchanges, sign-outs.

The service as it runs in production, on SQLite on disk, asked over RPC by a hundred at once (eight,
where passwords are checked). The processor time is the service's own, of all its threads.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from rich.table import Table

from benchmarks.harness import Bench
from benchmarks.processes import processor_time
from benchmarks.rpc import PATIENCE, calling
from messaging.contract import Request
from services.contracts.scopes import ORDERS_WRITE
from services.contracts.topology import GATEWAY, ORDER_SERVICE, USER_SERVICE
from services.contracts.users import Exchange, Register, SignIn, SignOut
from services.local.stack import LocalStack

AT_ONCE: Final = 100
PASSWORDS_AT_ONCE: Final = 8
EXCHANGES_EACH: Final = 5
SHARE: Final = 0.04
"""Sign-ins, of the messages of other cases."""

R = TypeVar("R")


async def run(bench: Bench) -> None:
    count = max(10, int(bench.settings.messages * SHARE))
    name, password = f"bench-{secrets.token_hex(8)}", secrets.token_urlsafe(16)
    async with LocalStack(bench.state, broker=bench.broker, only=["users"]) as stack:
        pid = stack.processes["users"].process.pid
        async with calling(bench.state, bench.broker.url(GATEWAY)) as client:

            async def ask(request: Request[Any]) -> Any:
                return await client.call(request, responder=USER_SERVICE, deadline=PATIENCE)

            await ask(Register(name=name, password=password))
            tokens = await _measure(
                bench,
                "sign_in",
                pid,
                PASSWORDS_AT_ONCE,
                [partial(ask, SignIn(name=name, password=password))] * count,
            )
            access = [token.access_token for token in tokens]
            exchange = [
                Exchange(subject_token=token, audience=ORDER_SERVICE, scope=ORDERS_WRITE)
                for token in access * EXCHANGES_EACH
            ]
            await _measure(
                bench, "exchange", pid, AT_ONCE, [partial(ask, each) for each in exchange]
            )
            out = [SignOut(access_token=token) for token in access]
            await _measure(bench, "sign_out", pid, AT_ONCE, [partial(ask, each) for each in out])


async def _measure(
    bench: Bench, name: str, pid: int, at_once: int, calls: Sequence[Callable[[], Awaitable[R]]]
) -> list[R]:
    """Make all calls, so many at once, and record what each cost the service."""
    turns = asyncio.Semaphore(at_once)

    async def one(call: Callable[[], Awaitable[R]]) -> R:
        async with turns:
            return await call()

    began, spent = time.monotonic(), processor_time(pid)
    answers = await asyncio.gather(*map(one, calls))
    seconds, cpu = time.monotonic() - began, processor_time(pid) - spent
    figures = {
        f"issuer.{name}_cpu_ms": cpu / len(calls) * 1e3,
        f"issuer.{name}_a_core_s": len(calls) / cpu,
        f"issuer.{name}_carried_s": len(calls) / seconds,
    }
    bench.record(figures)
    table = Table("figure", title=name, title_justify="left")
    table.add_column("", justify="right")
    for figure, number in figures.items():
        table.add_row(figure, f"{number:,.4g}")
    bench.console.print(table)
    return answers
