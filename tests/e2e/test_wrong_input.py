"""Whatever is wrong ends in one clear line that says what to do, and a non-zero exit."""

import asyncio
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import pytest

from auth.keys import SigningKey
from auth.statement import KeySetDraft
from services.authority import Authority
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS
from services.local.ports import free_ports
from services.local.trust import make_local_trust
from tests.messaging.raw import raw_channel

WITHIN: Final = 60.0


@pytest.fixture
def good(tmp_path: Path, amqp_url: str) -> dict[str, str]:
    """An environment in which the order service starts."""
    make_local_trust(tmp_path)
    (tmp_path / "data").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "CARNET_AMQP_URL": amqp_url,
        "CARNET_TRUST_ROOT": str(tmp_path / "trust-root.json"),
        "CARNET_KEY_SET": str(tmp_path / "key-set.jwt"),
        "CARNET_TRUST_STATE": str(tmp_path / "trust"),
        "CARNET_KEYS": str(tmp_path / "keys" / ORDER_SERVICE),
        "CARNET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'data' / 'orders.db'}",
        "CARNET_PORT": str(free_ports(1)[0]),
        "CARNET_START_DEADLINE": "5",
    }


AS_IT_IS: Final = ("-m", "services", "orders")
BY_COMMAND: Final = ("-c", "from services.cli.main import main; main()", "orders")


async def run(environment: dict[str, str], program: tuple[str, ...] = AS_IT_IS) -> tuple[int, str]:
    """Run the order service to its end; its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(WITHIN):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        pytest.fail(f"it runs on: {output.decode()}")
    assert process.returncode is not None
    return process.returncode, output.decode()


@contextmanager
def port_in_use(environment: dict[str, str]) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", int(environment["CARNET_PORT"]))):
        yield


@contextmanager
def database_locked(environment: dict[str, str]) -> Iterator[None]:
    path = environment["CARNET_DATABASE_URL"].partition("///")[2]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def _database_read_only(environment: dict[str, str]) -> None:
    """As a read-only mount would make it; permissions do not hold root back."""
    path = environment["CARNET_DATABASE_URL"].partition("///")[2]
    sqlite3.connect(path).close()
    Path(path).touch()
    environment["CARNET_DATABASE_URL"] = f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true"


Change = Callable[[dict[str, str]], AbstractContextManager[None] | None]


def _set(**changes: str) -> Change:
    return lambda environment: environment.update(changes)


def _without(name: str) -> Change:
    def change(environment: dict[str, str]) -> None:
        del environment[name]

    return change


def _wrong_password(environment: dict[str, str]) -> None:
    scheme, _, rest = environment["CARNET_AMQP_URL"].partition("://")
    name, _, host = rest.partition("@")
    environment["CARNET_AMQP_URL"] = f"{scheme}://{name.partition(':')[0]}:wrong@{host}"


def _keys(environment: dict[str, str]) -> Path:
    return Path(environment["CARNET_KEYS"])


def _readable_by_others(environment: dict[str, str]) -> None:
    (_keys(environment) / "seal.pem").chmod(0o644)


def _key_of_somebody_else(environment: dict[str, str]) -> None:
    shutil.copy(_keys(environment).parent / "api-gateway" / "seal.pem", _keys(environment))


def _forged_statement(environment: dict[str, str]) -> None:
    path = Path(environment["CARNET_KEY_SET"])
    statement = path.read_text()
    path.write_text(statement[:-8] + "AAAAAAA" + statement[-1])


def _key_retired(environment: dict[str, str]) -> None:
    """Its successor is the active one, and kept elsewhere."""
    authority, now = Authority(Path(environment["CARNET_TRUST_ROOT"]).parent), time.time()
    draft = KeySetDraft.of(authority.latest())
    successor = SigningKey.generate().public
    draft.add_next_key(ORDER_SERVICE, successor)
    draft.promote(ORDER_SERVICE, successor.kid, now=now - 60)
    authority.publish(draft, now=now)


WRONG: Final[dict[str, tuple[Change, str]]] = {
    "nobody at the broker's address": (
        _set(CARNET_AMQP_URL="amqp://a:b@127.0.0.1:1/"),
        "127.0.0.1:1",
    ),
    "not a broker's URL": (_set(CARNET_AMQP_URL="http://127.0.0.1/"), "amqp://"),
    "wrong broker password": (_wrong_password, "password"),
    "no such virtual host": (
        lambda e: e.update(CARNET_AMQP_URL=e["CARNET_AMQP_URL"].rpartition("/")[0] + "/nowhere"),
        "nowhere",
    ),
    "a setting missing": (_without("CARNET_KEYS"), "CARNET_KEYS"),
    "a setting that cannot be": (_set(CARNET_PORT="70000"), "CARNET_PORT"),
    "port taken": (port_in_use, "CARNET_PORT"),
    "key file missing": (lambda e: (_keys(e) / "seal.pem").unlink(), "seal.pem"),
    "key file readable by others": (_readable_by_others, "chmod 600"),
    "the key of somebody else": (_key_of_somebody_else, "carnet trust register"),
    "a key that is retired": (_key_retired, "retired since"),
    "no trust root": (lambda e: Path(e["CARNET_TRUST_ROOT"]).unlink(), "carnet trust init"),
    "forged key set": (_forged_statement, "key-set.jwt"),
    "database locked": (database_locked, "locked"),
    "database read-only": (_database_read_only, "read-only"),
    "no folder for the database": (
        _set(CARNET_DATABASE_URL="sqlite+aiosqlite:////nowhere/orders.db"),
        "/nowhere/orders.db",
    ),
    "not a database's URL": (
        _set(CARNET_DATABASE_URL="mysql://a:b@127.0.0.1/c"),
        "postgresql+asyncpg",
    ),
    "nobody at the database's address": (
        _set(CARNET_DATABASE_URL="postgresql+asyncpg://a:b@127.0.0.1:1/c"),
        "127.0.0.1:1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said_in_one_line(good: dict[str, str], case: str) -> None:
    change, hint = WRONG[case]

    with change(good) or nullcontext():
        code, output = await run(good)

    assert code == 1
    assert hint in the_one_line_of(output)


async def test_the_command_says_so_in_one_line_as_well(good: dict[str, str]) -> None:
    change, hint = WRONG["a setting missing"]
    change(good)

    code, output = await run(good, BY_COMMAND)

    assert code == 1
    assert hint in the_one_line_of(output)


def the_one_line_of(output: str) -> str:
    """What it said at its end, beside its log."""
    assert "Traceback" not in output
    (said,) = [line for line in output.splitlines() if not line.startswith("{")]
    assert said.startswith(f"{ORDER_SERVICE}: ")
    return said


async def test_a_queue_that_is_declared_otherwise_is_said_in_one_line(
    good: dict[str, str],
) -> None:
    (_, dead, *_) = ORDERS_COMMANDS.queues()
    arguments: dict[str, Any] = {**dead.arguments, "x-delivery-limit": 20}
    async with raw_channel(good["CARNET_AMQP_URL"]) as raw:
        await raw.channel.declare_queue(dead.name, durable=True, arguments=arguments)

    code, output = await run(good)

    assert code == 1
    assert (
        "queue 'orders.commands.dead' is declared otherwise: x-delivery-limit is 20 and must be"
    ) in the_one_line_of(output)


async def test_a_clock_that_is_off_is_said_in_one_line(good: dict[str, str]) -> None:
    """The same program, on a machine whose clock somebody has set two minutes ahead."""
    shifted = (
        "import time; true = time.time; time.time = lambda: true() + 120;"
        "from services.orders.__main__ import main; main()"
    )

    code, output = await run(good, ("-c", shifted))

    assert code == 1
    assert "s ahead of the broker's, 30 s at most are borne; set both by NTP" in the_one_line_of(
        output
    )
