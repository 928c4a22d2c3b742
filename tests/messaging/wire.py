"""A wire to the broker that a test can cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

from yarl import URL


class Wire:
    """A TCP relay on loopback. `cut` ends every connection at once; `dead` refuses new ones."""

    def __init__(
        self, target: URL, *, rewrite: Callable[[bytes], bytes] = lambda data: data
    ) -> None:
        """`rewrite`: changes what the broker says, and not its length."""
        self._target = target
        self._rewrite = rewrite
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.dead = False
        self.refused = asyncio.Event()
        """Somebody tried to connect while it was dead."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answering.set()

    def hold(self) -> None:
        """Carry nothing any more, and close nothing either."""
        self._flowing.clear()
        self._answering.clear()

    def hold_answers(self) -> None:
        """Carry what goes to the broker, and nothing that comes from it."""
        self._answering.clear()

    def release(self) -> None:
        """Carry again, also what was held."""
        self._flowing.set()
        self._answering.set()

    @property
    def url(self) -> str:
        """The broker's URL, by way of this wire."""
        if self._server is None:
            raise RuntimeError("not started")
        port = self._server.sockets[0].getsockname()[1]
        return str(self._target.with_host("127.0.0.1").with_port(port))

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    def cut(self) -> None:
        self.release()
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.dead:
            self.refused.set()
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers |= {writer, back}
        try:
            await asyncio.gather(
                self._pump(reader, back, self._flowing),
                self._pump(there, writer, self._answering, self._rewrite),
            )
        finally:
            self._writers -= {writer, back}
            writer.transport.abort()
            back.transport.abort()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        flowing: asyncio.Event,
        rewrite: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await flowing.wait()
                sink.write(rewrite(data))
                await sink.drain()
        sink.transport.abort()


@asynccontextmanager
async def wire_to(
    url: str, *, rewrite: Callable[[bytes], bytes] = lambda data: data
) -> AsyncIterator[Wire]:
    """A wire to the broker at `url`."""
    wire = await Wire(URL(url), rewrite=rewrite).start()
    try:
        yield wire
    finally:
        await wire.close()
