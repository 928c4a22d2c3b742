"""What `carnet` shows of its commands before it has loaded any."""

import subprocess
import sys

import pytest
from typer.main import get_command

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
    script = f"import sys, {module}; print(*sys.modules)"

    loaded = subprocess.check_output([sys.executable, "-c", script], text=True)  # noqa: S603

    assert unwanted.isdisjoint(loaded.split())
