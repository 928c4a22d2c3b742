"""Connecting: one clear line for each way in which it fails, and back after each loss."""

import asyncio

import pytest

from messaging.broker import Broker
from messaging.errors import BrokerUnavailableError, BrokerUnreachableError, BrokerUrlError
from messaging.link import Link, parse_url
from tests.messaging.raw import WAIT, until
from tests.messaging.wire import Wire


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "http://localhost", "amqp://", "amqp://localhost:port", "amqp:///vhost"],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BrokerUrlError):
        Broker(url, name="test")


def test_heartbeats_are_set_unless_the_url_sets_them() -> None:
    assert parse_url("amqp://localhost").query["heartbeat"] == "10"
    assert parse_url("amqp://localhost?heartbeat=3").query["heartbeat"] == "3"
    assert parse_url("amqp://localhost").port == 5672
    assert parse_url("amqps://localhost").port == 5671


async def test_nobody_at_the_address_is_said_after_the_deadline() -> None:
    async with asyncio.timeout(WAIT):
        with pytest.raises(BrokerUnreachableError) as caught:
            await Broker("amqp://guest:the-password@127.0.0.1:1", name="test").start(0.5)

    assert "no RabbitMQ answers at 127.0.0.1:1" in caught.value.detail
    assert "the-password" not in caught.value.detail


async def test_something_else_at_the_address_is_said() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(BrokerUnreachableError, match=f"127.0.0.1:{port}"):
            await Link(f"amqp://127.0.0.1:{port}", name="test").start(1)


async def test_a_broker_of_another_protocol_is_said() -> None:
    """What RabbitMQ answers to a version that it does not speak (AMQP 0-9-1 §4.2.2)."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"AMQP\x00\x01\x00\x00")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(BrokerUnreachableError, match=f"127.0.0.1:{port}"):
            await Link(f"amqp://127.0.0.1:{port}", name="test").start(1)


async def test_somebody_who_says_nothing_is_given_up_in_time() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(WAIT):
        with pytest.raises(BrokerUnreachableError, match="no answer in time"):
            await Link(f"amqp://127.0.0.1:{port}", name="test").start(0.5)


async def test_it_waits_for_a_broker_that_comes_up_late(wire: Wire) -> None:
    wire.dead = True
    link = Link(wire.url, name="test")
    starting = asyncio.create_task(link.start(WAIT))
    await wire.refused.wait()

    wire.dead = False

    await starting
    assert link.connected
    await link.close(WAIT)
    assert not link.connected


async def test_it_is_back_after_each_loss(wire: Wire) -> None:
    link = Link(wire.url, name="test")
    await link.start(WAIT)
    for _ in range(3):
        wire.cut()
        await until(lambda: not link.connected)
        channel = await link.channel(WAIT)
        await channel.close()
    await link.close(WAIT)


async def test_it_tries_until_it_is_closed(wire: Wire) -> None:
    link = Link(wire.url, name="test")
    await link.start(WAIT)
    wire.dead = True
    wire.cut()
    await wire.refused.wait()

    async with asyncio.timeout(WAIT):
        await link.close(WAIT)

    with pytest.raises(BrokerUnavailableError):
        await link.channel(0.1)


async def test_closing_a_silent_connection_ends_within_the_deadline(wire: Wire) -> None:
    link = Link(wire.url, name="test")
    await link.start(WAIT)
    wire.hold()

    async with asyncio.timeout(5):
        await link.close(0.5)
