"""`carnet up`: ready when all is, stopped when told to, and one line when it cannot go on."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx
import pytest
import pytest_asyncio

from messaging.findings import Verdict
from services.demo.client import ShopClient, next_event
from services.doctor.examination import examine_stack
from services.local.installation import Installation, find_installation
from services.local.ports import LOOPBACK, free_ports
from services.local.trust import make_local_trust

CARNET: Final = Path(sys.executable).with_name("carnet")
WITHIN: Final = 60.0
SERVICES: Final = ("users", "orders", "gateway", "console")

pytestmark = pytest.mark.timeout(180)


class Up:
    """A run of `carnet up`, and what it said so far."""

    def __init__(self, process: Process, state: Path, port: int) -> None:
        self.process = process
        self.state = state
        self.port = port
        self.said: list[str] = []

    @property
    def output(self) -> str:
        return "\n".join(self.said)

    async def until(self, wanted: str) -> None:
        """Read until it says so."""
        async with asyncio.timeout(WITHIN):
            while wanted not in (line := await self._next_line()):
                assert line, f"it ended; it said: {self.output}"

    async def ended(self) -> int:
        """Read to its end; its exit code."""
        async with asyncio.timeout(WITHIN):
            while await self._next_line():
                pass
            return await self.process.wait()

    async def _next_line(self) -> str:
        if self.process.stdout is None:
            raise AssertionError
        line = (await self.process.stdout.readline()).decode()
        if line:
            self.said.append(line.rstrip())
        return line

    def pid_of(self, service: str) -> int:
        """The process of one service of this very run."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                if f"services\0{service}\0" in Path(f"/proc/{pid}/cmdline").read_text():
                    return int(pid)
        raise AssertionError(f"{service} does not run")

    async def answers(self) -> bool:
        """Whether the gateway answers that it is ready."""
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                answer = await client.get(f"http://{LOOPBACK}:{self.port}/health/ready")
            except httpx.TransportError:
                return False
        return answer.is_success


Run = Callable[..., Awaitable[Up]]


@pytest_asyncio.fixture
async def run(tmp_path: Path, amqp_url: str) -> AsyncIterator[Run]:
    """Start `carnet up` on a broker that runs already, with settings changed as asked."""
    runs = []

    async def run(*options: str, **changes: str | None) -> Up:
        port = int(changes.get("CARNET_PORT") or free_ports(1)[0])
        ours = {
            "CARNET_STATE": str(tmp_path / "state"),
            "CARNET_PORT": str(port),
            "CARNET_AMQP_URL": amqp_url,
        }
        settings = {**os.environ, **ours, **changes}
        process = await asyncio.create_subprocess_exec(
            *(str(CARNET), "up", *options),
            env={name: value for name, value in settings.items() if value is not None},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
        )
        runs.append(process)
        return Up(process, tmp_path / "state", port)

    yield run
    for process in runs:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
def installed() -> Installation:
    found = find_installation()
    if found is None or not found.new_enough:
        pytest.skip("rabbitmq-server 3.10 or newer is not installed")
    return found


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Watched:
    """A process that is not our child; watched before it may end."""

    def __init__(self, pid: int) -> None:
        self._handle = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._handle, self._ended.set)

    async def gone(self) -> None:
        async with asyncio.timeout(WITHIN):
            await self._ended.wait()
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)


async def test_it_drains_on_a_signal_and_starts_again_on_its_state(run: Run) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        up = await run()
        await up.until("ready on")
        pids = [up.pid_of(service) for service in SERVICES]
        assert await up.answers()

        up.process.send_signal(number)

        assert await up.ended() == 0
        assert not await up.answers()
        assert not any(runs(pid) for pid in pids)
        assert not list((up.state / "run").iterdir())  # the logins that it told its services
        for service in SERVICES:
            assert "stopped" in (up.state / "logs" / f"{service}.log").read_text()


async def test_a_service_that_dies_is_named_and_ends_the_rest(run: Run) -> None:
    up = await run()
    await up.until("ready on")
    others = [up.pid_of("users"), up.pid_of("gateway")]

    os.kill(up.pid_of("orders"), signal.SIGKILL)

    assert await up.ended() == 1
    assert up.said[-1].startswith("carnet: orders ended by itself")
    assert "Traceback" not in up.output
    assert not any(runs(pid) for pid in others)


async def test_its_own_broker_stops_with_it(run: Run) -> None:
    """Where no broker is given, it brings one."""
    up = await run(CARNET_AMQP_URL=None)
    await up.until("ready on")
    assert await up.answers()

    up.process.terminate()

    assert await up.ended() == 0
    assert not (up.state / "broker" / "processes.json").exists()


async def test_its_services_log_in_with_tokens_where_that_is_asked_for(run: Run) -> None:
    up = await run(CARNET_AMQP_URL=None, CARNET_BROKER_LOGIN="token")
    await up.until("ready on")

    async with ShopClient(f"http://{LOOPBACK}:{up.port}") as shop:
        await shop.register("ada", "correct horse battery staple")
        account = await shop.sign_in("ada", "correct horse battery staple")
        async with shop.events(account) as events:
            await shop.place(account, [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}])
            event = await next_event(events, within=WITHIN)

    assert event.type == "orders.placed.v1"
    reports = await examine_stack(up.state, passphrase=None, management=None, clock=time.time)
    findings = [finding for report in reports for finding in report.findings]
    assert [f for f in findings if f.verdict in {Verdict.WARN, Verdict.FAIL}] == []
    up.process.terminate()
    assert await up.ended() == 0


async def test_its_own_broker_is_named_when_it_dies(run: Run, installed: Installation) -> None:
    up = await run(CARNET_AMQP_URL=None)
    await up.until(f"private node of {installed}")
    await up.until("ready on")
    node, *_ = json.loads((up.state / "broker" / "processes.json").read_text())

    os.kill(node["pid"], signal.SIGKILL)

    assert await up.ended() == 1
    assert up.said[-1].startswith("carnet: rabbitmq-server ended by itself")


async def test_nothing_outlives_a_run_that_is_killed(run: Run) -> None:
    up = await run()
    await up.until("ready on")
    services = [Watched(up.pid_of(service)) for service in SERVICES]

    up.process.kill()

    for service in services:
        await service.gone()


async def test_a_second_run_on_the_same_state_is_refused(run: Run) -> None:
    first = await run()
    await first.until("ready on")

    second = await run()

    assert await second.ended() == 1
    assert second.said[-1].startswith("carnet: another carnet runs on the state folder")
    assert await first.answers()


def wrong_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login, _, place = rest.partition("@")
    return f"{scheme}://{login.partition(':')[0]}:wrong@{place}"


WRONG: Final[dict[str, tuple[Callable[[str], dict[str, str]], str]]] = {
    "no broker": (
        lambda _url: {"CARNET_AMQP_URL": f"amqp://a:b@{LOOPBACK}:{free_ports(1)[0]}/"},
        "no RabbitMQ answers",
    ),
    "wrong password": (
        lambda url: {"CARNET_AMQP_URL": wrong_password(url)},
        "wrong name or password",
    ),
    "no such virtual host": (
        lambda url: {"CARNET_AMQP_URL": f"{url.rpartition('/')[0]}/nowhere"},
        "nowhere",
    ),
    "not a broker's URL": (lambda _url: {"CARNET_AMQP_URL": "http://localhost/"}, "amqp://"),
    "a port that cannot be": (lambda _url: {"CARNET_PORT": "70000"}, "CARNET_PORT"),
    "a state folder that cannot be": (
        lambda _url: {"CARNET_STATE": "/dev/null/state"},
        "CARNET_STATE",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said_in_one_line(run: Run, amqp_url: str, case: str) -> None:
    settings, hint = WRONG[case]

    up = await run(**settings(amqp_url))

    assert await up.ended() == 1
    assert len(up.said) == 1
    assert up.output.startswith("carnet: ")
    assert hint in up.output


async def test_an_operator_is_told_where_the_console_is(run: Run) -> None:
    up = await run(CARNET_CONSOLE_PORT=str(free_ports(1)[0]))
    await up.until("ready on")
    (line,) = [each for each in up.said if each.endswith("as an operator")]
    url = line.split()[1]

    async with httpx.AsyncClient(trust_env=False) as client:
        ready = await client.get(url.replace("/console", "/health/ready"))
        led = await client.get(f"http://{LOOPBACK}:{up.port}/console")

    assert ready.is_success
    assert (led.status_code, led.headers["location"]) == (307, url)
    assert f"CARNET_STATE={up.state} carnet accounts add NAME --role operator" in up.output
    up.process.terminate()
    assert await up.ended() == 0


async def test_without_a_console_none_is_run(run: Run) -> None:
    up = await run("--no-console")
    await up.until("ready on")

    assert "as an operator" not in up.output
    assert not (up.state / "logs" / "console.log").exists()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://{LOOPBACK}:{up.port}/console")).status_code == 404


async def test_a_port_of_the_consoles_that_is_taken_is_said(run: Run) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        up = await run(CARNET_CONSOLE_PORT=str(port))

        assert await up.ended() == 1
    assert up.said == [f"carnet: port {port} is taken: set CARNET_CONSOLE_PORT to another port"]


async def test_a_port_that_is_taken_is_said_before_anything_starts(run: Run) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        up = await run(CARNET_PORT=str(port))

        assert await up.ended() == 1
    assert up.said == [f"carnet: port {port} is taken: set CARNET_PORT to another port"]


async def test_a_key_that_others_may_read_is_named(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "state"
    make_local_trust(state)
    key = state / "keys" / "order-service" / "seal.pem"
    key.chmod(0o644)

    up = await run()

    assert await up.ended() == 1
    assert up.said[-1].startswith("carnet: ")
    assert f"chmod 600 {key}" in up.said[-1]
    assert "Traceback" not in up.output
