"""A TCP proxy between a service and what it stands on, which can be slow, deaf, cut or closed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from services.local.ports import LOOPBACK

PIECE: Final = 64 * 1024
CONNECT_WITHIN: Final = 5.0

Address = tuple[str, int]


class Proxy:
    """Listens on a port of its own; where it leads to is asked anew for each connection."""

    def __init__(self, upstream: Callable[[], Address]) -> None:
        self.port = 0
        self.latency = 0.0
        """Seconds by which each piece is late, each way."""
        self._upstream = upstream
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stall(self) -> None:
        """Carry nothing any more, and close nothing: the other side seems silent."""
        self._passing.clear()

    def resume(self) -> None:
        self._passing.set()

    def cut(self) -> None:
        """Break every connection that there is, without a word."""
        for link in self._links:
            link.cancel()

    async def stop(self) -> None:
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        if link is None:
            raise RuntimeError("not in a task")
        self._links.add(link)
        ends = [writer]
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                far_reader, far_writer = await asyncio.open_connection(*self._upstream())
            ends.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, far_writer))
                both.create_task(self._carry(far_reader, writer))
        except (OSError, TimeoutError, asyncio.CancelledError, ExceptionGroup):
            pass  # whichever side ended it, the other one learns of it below
        finally:
            self._links.discard(link)
            for end in ends:
                end.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE):
            await self._passing.wait()
            if self.latency:
                await asyncio.sleep(self.latency)
            target.write(piece)
            await target.drain()
        with suppress(OSError):
            target.write_eof()
