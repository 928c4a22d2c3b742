"""What `carnet` shows of its commands before it has loaded any."""

import subprocess
import sys

import pytest
from typer.main import get_command

from services.__main__ import SERVICES
from services.cli.lazily import COMMANDS, load
from services.cli.main import app


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says_of_it(name: str) -> None:
    listed = get_command(app).commands[name]  # type: ignore[attr-defined]

    assert listed.get_short_help_str(200) == load(name).get_short_help_str(200)


@pytest.mark.parametrize("module", ["services.cli.main", "services.orders.__main__"])
def test_what_a_start_does_without_is_not_loaded(module: str) -> None:
    """Neither a list of commands nor the order service on SQLite waits for these."""
    unwanted = {"alembic", "asyncpg", "httpx", "fastapi", "mako"}
    if module == "services.cli.main":
        unwanted |= {"sqlalchemy", "aio_pika"}
    else:
        unwanted |= {"uvicorn", "starlette", "anyio"}
    script = f"import sys, {module}; print(*sys.modules)"

    loaded = subprocess.check_output([sys.executable, "-c", script], text=True)  # noqa: S603

    assert unwanted.isdisjoint(loaded.split())


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_loads_nothing_that_only_shows_commands(service: str) -> None:
    """It ends at once, since it has no settings; by then it has imported what it needs."""
    script = (
        "import atexit, sys, services.__main__ as services;"
        "loaded = lambda: print(*(name for name, module in sys.modules.items() if module));"
        f"atexit.register(loaded); services.run({service!r})"
    )

    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script], env={}, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert {"rich", "pygments", "typer"}.isdisjoint(ended.stdout.split())
    assert {"structlog", f"services.{service}.__main__"} <= set(ended.stdout.split())


@pytest.mark.parametrize("arguments", [(), ("nobody",), ("orders", "users")])
def test_a_service_that_there_is_not_is_said_in_one_line(arguments: tuple[str, ...]) -> None:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "services", *arguments], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "which service? one of: users, orders, gateway, console\n"
