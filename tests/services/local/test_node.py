"""A private node: ours alone, empty but for our logins, and gone when we are."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio

from messaging.probe import accepts
from services.local.definitions import operator_definitions
from services.local.errors import NodeStartError, StateInUseError, StateUnusableError
from services.local.installation import Installation, find_installation
from services.local.logins import OPERATOR, Login
from services.local.node import PrivateNode
from services.local.ports import LOOPBACK

GUEST = Login("guest", "guest")


@pytest.fixture
def installation() -> Installation:
    found = find_installation()
    if found is None or not found.new_enough:
        pytest.skip("rabbitmq-server 3.10 or newer is not installed")
    return found


@pytest.fixture
def operator() -> Login:
    return Login.generate(OPERATOR)


@pytest_asyncio.fixture
async def node(
    installation: Installation, operator: Login, tmp_path: Path
) -> AsyncIterator[PrivateNode]:
    """In a folder with a space in its name, as home folders may have."""
    node = PrivateNode(installation, tmp_path / "a folder", operator_definitions(operator))
    yield node
    await node.kill()


def listening_ports() -> set[int]:
    """TCP ports of this machine on which somebody listens."""
    rows = [
        row.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for row in Path(table).read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_node_takes_our_login_and_no_other(node: PrivateNode, operator: Login) -> None:
    await node.start(operator)

    assert await accepts(operator.url(LOOPBACK, node.port), within=5)
    assert not await accepts(Login(OPERATOR, "wrong").url(LOOPBACK, node.port), within=5)
    assert not await accepts(GUEST.url(LOOPBACK, node.port), within=5)


async def test_a_stopped_node_keeps_what_it_holds_and_leaves_nothing_running(
    node: PrivateNode, operator: Login, installation: Installation
) -> None:
    await node.start(operator)
    connection = await aio_pika.connect(operator.url(LOOPBACK, node.port))
    channel = await connection.channel()
    await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    await channel.default_exchange.publish(aio_pika.Message(b"work", delivery_mode=2), "kept")
    await connection.close()

    await node.stop()

    assert listening_ports().isdisjoint(node.ports)
    successor_login = Login.generate(OPERATOR)
    successor = PrivateNode(installation, node.folder, operator_definitions(successor_login))
    await successor.start(successor_login)
    try:
        connection = await aio_pika.connect(successor_login.url(LOOPBACK, successor.port))
        queue = await (await connection.channel()).get_queue("kept")
        message = await queue.get(no_ack=True, timeout=10)
        await connection.close()
    finally:
        await successor.kill()
    assert message is not None
    assert message.body == b"work"


async def test_two_runs_cannot_share_a_folder(
    node: PrivateNode, operator: Login, installation: Installation
) -> None:
    await node.start(operator)
    second = PrivateNode(installation, node.folder, operator_definitions(operator))

    with pytest.raises(StateInUseError, match="CARNET_STATE"):
        await second.start(operator)

    assert await accepts(operator.url(LOOPBACK, node.port), within=5)


RUN_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from services.local.definitions import operator_definitions
from services.local.installation import find_installation
from services.local.logins import Login
from services.local.node import PrivateNode

async def main():
    operator = Login("operator", "a password of this test")
    node = PrivateNode(find_installation(), Path(sys.argv[1]), operator_definitions(operator))
    await node.start(operator)
    Path(sys.argv[2]).write_text(str(node.process.process.pid))
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_node_whose_run_was_killed_ends_and_its_folder_is_usable_again(
    node: PrivateNode, operator: Login, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN_UNTIL_KILLED, str(node.folder), str(note)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert killed.stdout is not None
    await asyncio.wait_for(killed.stdout.readuntil(b"started"), 60)
    pid = int(note.read_text())
    os.kill(killed.pid, signal.SIGKILL)
    await killed.wait()

    await node.start(operator)

    assert node.process is not None
    assert node.process.process.pid != pid
    assert not runs(pid)


async def test_a_node_that_cannot_start_says_why_in_one_line(
    node: PrivateNode, operator: Login
) -> None:
    """The port is open all the while, but it is somebody else's."""
    with socket.create_server((LOOPBACK, node.port)), pytest.raises(NodeStartError) as raised:
        await node.start(operator)

    assert len(str(raised.value).splitlines()) == 1
    assert "could_not_start_listener" in str(raised.value)
    assert str(node.folder / "log") in str(raised.value)
    assert listening_ports().isdisjoint(node.ports)


async def test_a_node_that_does_not_take_the_login_is_not_ready(
    node: PrivateNode, operator: Login
) -> None:
    with pytest.raises(NodeStartError, match="not come up within"):
        await node.start(Login(operator.name, "another password"), within=10)

    assert listening_ports().isdisjoint(node.ports)


async def test_a_folder_that_cannot_be_written_is_named(
    installation: Installation, operator: Login, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    node = PrivateNode(installation, tmp_path / "file" / "node", operator_definitions(operator))

    with pytest.raises(StateUnusableError, match=str(tmp_path / "file")):
        await node.start(operator)
