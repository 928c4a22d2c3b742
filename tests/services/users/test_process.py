"""The user service as a process: up, asked, stopped, or one clear line why not."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.contracts.topology import GATEWAY
from services.contracts.users import Register
from services.failure import KNOWN_ERRORS
from services.local.ports import LOOPBACK, free_ports
from services.local.service import Service
from services.local.trust import make_local_trust
from services.users.__main__ import serve
from tests.services.users.realm import PASSWORD
from tests.services.users.running import opened, settings

WITHIN = 60


@pytest.fixture
def state(tmp_path: Path) -> Path:
    make_local_trust(tmp_path)
    for folder in ("data", "logs"):
        (tmp_path / folder).mkdir()
    return tmp_path


async def test_it_answers_until_it_is_told_to_stop_and_then_ends_well(
    state: Path, amqp_url: str
) -> None:
    service = Service("users", state, LOOPBACK, free_ports(1)[0])
    child = await service.start(service.environment(amqp_url, None))
    try:
        await service.wait_until_ready(child)
        async with opened(state, amqp_url) as running:
            gateway = await running.client(GATEWAY)
            assert (await gateway.ask(Register(name="ada", password=PASSWORD))).name == "ada"

        child.process.send_signal(signal.SIGTERM)

        assert await child.ended_within(WITHIN)
        assert child.process.returncode == 0, child.log.read_text()
        assert PASSWORD not in child.log.read_text()
    finally:
        await child.kill()


def _no_keys(state: Path) -> None:
    (state / "keys/user-service/seal.pem").unlink()


def _no_issuer_key(state: Path) -> None:
    for path in (state / "keys/user-service/issuer").glob("*.pem"):
        path.unlink()


def _open_issuer_key(state: Path) -> None:
    for path in (state / "keys/user-service/issuer").glob("*.pem"):
        path.chmod(0o644)


def _no_statement(state: Path) -> None:
    (state / "key-set.jwt").unlink()


def _other_root(state: Path) -> None:
    make_local_trust(state / "other")
    (state / "other/trust-root.json").replace(state / "trust-root.json")


def _other_keys(state: Path) -> None:
    (state / "keys/order-service/seal.pem").replace(state / "keys/user-service/seal.pem")


def _no_folder(state: Path) -> None:
    (state / "data").rmdir()


def _no_database(state: Path) -> None:
    (state / "data/users.db").write_text("this is no database, and was never one")


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (_no_keys, "seal.pem: cannot read the key"),
        (_no_issuer_key, "no key here is listed as the issuer's active key"),
        (_open_issuer_key, "readable by others"),
        (_no_statement, "key-set.jwt: cannot read"),
        (_other_root, "not the trust root's"),
        (_other_keys, "does not list"),
        (_no_folder, "does not exist"),
        (_no_database, "is no SQLite database"),
    ],
)
async def test_what_keeps_it_from_starting_is_one_clear_line(
    state: Path, spoil: Callable[[Path], None], part: str
) -> None:
    spoil(state)

    with pytest.raises(KNOWN_ERRORS) as failure:
        await serve(settings(state, "amqp://guest:guest@localhost/"), asyncio.Event())

    assert part in str(failure.value)
    assert "\n" not in str(failure.value)


async def test_without_a_broker_it_says_so(state: Path) -> None:
    port = free_ports(1)[0]
    environment = Service("users", state, LOOPBACK, free_ports(1)[0]).environment(
        f"amqp://guest:hidden-word@{LOOPBACK}:{port}/", None
    )

    line = await _failure({**environment, "CARNET_START_DEADLINE": "1"})

    assert f"{LOOPBACK}:{port}" in line
    assert "hidden-word" not in line


async def test_settings_that_are_missing_are_named() -> None:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("CARNET_")}

    line = await _failure(environment)

    for name in ("CARNET_AMQP_URL", "CARNET_TRUST_ROOT", "CARNET_KEY_SET", "CARNET_KEYS"):
        assert name in line


async def _failure(environment: dict[str, str]) -> str:
    """Run the service, which must end by itself; its last line, and the only one for people."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.users",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in errors
    line = errors.decode().strip().splitlines()[-1]
    assert line.startswith("user-service: ")
    return line
