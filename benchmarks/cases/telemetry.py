"""Telemetry: what it costs a consumer to tell of itself, as `consume.carnet` otherwise.

`metrics`: what every service counts, and nobody traces. `sampled`: one trace in a hundred is told
of. `traced`: every one is, four spans for each message. Spans go, in batches, to a collector that
throws them away, in the benchmark's own process.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from benchmarks.contender import Run
from benchmarks.harness import Bench
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS
from services.local.ports import LOOPBACK

SESSIONS: Final = 50
SAMPLED: Final = "0.01"

_LENGTH: Final = b"content-length:"
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
)


async def run(bench: Bench) -> None:
    batch = await bench.letters(bench.settings.messages, sessions=SESSIONS)
    async with _collector() as endpoint:

        def ours(**options: Any) -> Any:
            async def contend() -> Run:
                return await bench.consumer(
                    "benchmarks.ours.consume",
                    ORDER_SERVICE,
                    ORDERS_COMMANDS.name,
                    batch,
                    **bench.ours(**options),
                )

            return contend

        runs = await bench.side_by_side(
            "telemetry",
            {
                "metrics": ours(),
                "sampled": ours(otlp=endpoint, sampled=SAMPLED),
                "traced": ours(otlp=endpoint, sampled="1"),
            },
        )
    for name in ("sampled", "traced"):
        bench.ratio(f"telemetry.{name}_over_metrics", runs[name], runs["metrics"])


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    """Where spans can be sent, and are thrown away."""
    server = await asyncio.start_server(_throw_away, LOOPBACK, 0)
    async with server:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"


async def _throw_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(_LENGTH)[2].split(b"\r\n")[0]))
            writer.write(_ANSWER)
            await writer.drain()
    writer.close()
