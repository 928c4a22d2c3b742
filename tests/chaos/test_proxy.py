"""What the proxy does to a connection, on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest_asyncio

from services.local.ports import LOOPBACK
from tests.chaos.proxy import Proxy

WITHIN = 10.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1024):
        writer.write(piece)
        await writer.drain()
    writer.close()


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that sends back what it is sent."""
    server = await asyncio.start_server(echo, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    proxy = Proxy(lambda: (LOOPBACK, port))
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()


@asynccontextmanager
async def connected(
    proxy: Proxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_what_is_sent_comes_back(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"hello")
        writer.write_eof()
        async with asyncio.timeout(WITHIN):
            assert await reader.read() == b"hello"


async def test_latency_counts_both_ways(proxy: Proxy) -> None:
    proxy.latency = 0.2
    loop = asyncio.get_running_loop()
    async with connected(proxy) as (reader, writer):
        began = loop.time()
        writer.write(b"x")
        async with asyncio.timeout(WITHIN):
            assert await reader.readexactly(1) == b"x"
    assert loop.time() - began >= 0.4


async def test_a_stalled_connection_carries_nothing_until_it_is_resumed(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.stall()
        writer.write(b"x")
        answer = asyncio.create_task(reader.readexactly(1))
        done, _ = await asyncio.wait({answer}, timeout=0.3)
        assert not done

        proxy.resume()
        async with asyncio.timeout(WITHIN):
            assert await answer == b"x"


async def test_a_cut_connection_ends_and_a_new_one_is_taken(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"x")
        async with asyncio.timeout(WITHIN):
            await reader.readexactly(1)
            proxy.cut()
            with suppress(ConnectionError):
                assert await reader.read() == b""

    async with connected(proxy) as (reader, writer):
        writer.write(b"y")
        async with asyncio.timeout(WITHIN):
            assert await reader.readexactly(1) == b"y"
