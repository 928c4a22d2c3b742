"""Connecting: one clear line for each way in which it fails, and back after each loss."""

import asyncio

import pytest
from yarl import URL

from messaging.broker import Broker
from messaging.errors import BrokerLoginError, BrokerUnavailableError, BrokerUnreachableError
from messaging.link import Link
from tests.messaging.raw import WAIT, until
from tests.messaging.wire import Wire, wire_to


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


async def test_a_broker_that_falls_silent_is_let_go_after_two_heartbeats(amqp_url: str) -> None:
    """As one that hangs: its system goes on taking what is sent, and closes nothing."""
    loop = asyncio.get_running_loop()
    async with wire_to(f"{amqp_url}?heartbeat=1") as wire:
        link = Link(wire.url, name="test")
        await link.start(WAIT)
        silent_from = loop.time()
        wire.hold()

        await until(lambda: not link.connected)

        assert 1 < loop.time() - silent_from < 8
        await link.close(WAIT)


async def test_a_broker_that_has_nothing_to_say_is_kept(amqp_url: str) -> None:
    """It says so, by its heartbeats."""
    async with wire_to(f"{amqp_url}?heartbeat=1") as wire:
        link = Link(wire.url, name="test")
        await link.start(WAIT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4):
                await link.lost.wait()
        await link.close(WAIT)


async def test_all_nodes_of_a_cluster_are_tried_before_it_waits(wire: Wire) -> None:
    nobody = URL(wire.url).with_port(1)
    for _ in range(10):  # whichever is first
        link = Link(f"{nobody}, {wire.url}", name="test")
        await link.start(1)
        assert link.connected
        await link.close(WAIT)


async def test_clients_spread_over_the_nodes(amqp_url: str) -> None:
    async with wire_to(amqp_url) as one, wire_to(amqp_url) as other:
        links = [Link(f"{one.url} {other.url}", name=f"test {number}") for number in range(20)]
        await asyncio.gather(*(link.start(WAIT) for link in links))

        assert {link.node for link in links} == {
            f"127.0.0.1:{URL(wire.url).port}" for wire in (one, other)
        }
        await asyncio.gather(*(link.close(WAIT) for link in links))


async def test_a_node_that_says_nothing_costs_its_share_of_the_time(wire: Wire) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    silent = URL(wire.url).with_port(server.sockets[0].getsockname()[1])
    async with server:
        for _ in range(5):  # whichever is first
            link = Link(f"{silent} {wire.url}", name="test")
            await link.start(2)
            assert link.connected
            await link.close(WAIT)


async def test_a_lost_node_s_clients_are_back_on_another(amqp_url: str) -> None:
    async with wire_to(amqp_url) as one, wire_to(amqp_url) as other:
        link = Link(f"{one.url} {other.url}", name="test")
        await link.start(WAIT)
        lost, kept = (one, other) if link.node.endswith(f":{URL(one.url).port}") else (other, one)
        lost.dead = True
        lost.cut()

        await until(lambda: link.connected and link.node.endswith(f":{URL(kept.url).port}"))

        await (await link.channel(WAIT)).close()
        await link.close(WAIT)


async def test_the_refusal_of_one_node_is_told_before_another_s_absence(amqp_url: str) -> None:
    refused = URL(amqp_url).with_password("the-wrong-one")
    nobody = refused.with_port(1)

    with pytest.raises(BrokerLoginError) as caught:
        await Link(f"{nobody} {refused}", name="test").start(WAIT)

    assert "the-wrong-one" not in caught.value.detail
