"""Where RabbitMQ is installed on this machine, and whether it is new enough for us."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from messaging.broker_version import OLDEST

OLDEST_TEXT: Final = ".".join(map(str, OLDEST))

USUAL_PLACES: Final = (
    "/usr/lib/rabbitmq/bin",
    "/usr/local/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)


@dataclass(frozen=True, slots=True)
class Installation:
    """RabbitMQ's own start script, and the Erlang port mapper it needs."""

    server: Path
    epmd: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"RabbitMQ {'.'.join(map(str, self.version))}"

    @property
    def new_enough(self) -> bool:
        return self.version >= OLDEST


def find_installation() -> Installation | None:
    """The RabbitMQ of this machine, of whatever version, if there is one."""
    epmd = _find_epmd()
    if epmd is None:
        return None
    for folder in _script_folders():
        # A distribution's wrapper of the same name changes user and drops the environment;
        # the real script stands beside the two files that it reads.
        if all((folder / name).exists() for name in ("rabbitmq-env", "rabbitmq-defaults")):
            server = folder / "rabbitmq-server"
            return Installation(server, epmd, _version(server))
    return None


def _script_folders() -> Iterator[Path]:
    if wrapper := shutil.which("rabbitmq-server"):
        yield Path(wrapper).resolve().parent
    yield from map(Path, USUAL_PLACES)


def _find_epmd() -> Path | None:
    if epmd := shutil.which("epmd"):
        return Path(epmd)
    if erl := shutil.which("erl", path=f"{os.environ.get('PATH', os.defpath)}:/usr/lib/erlang/bin"):
        beside = Path(erl).resolve().with_name("epmd")
        return beside if beside.exists() else None
    return None


def _version(server: Path) -> tuple[int, ...]:
    # The folder carries it everywhere: .../rabbitmq_server-3.10.8/sbin/rabbitmq-server
    found = re.search(r"rabbitmq[_-]server-(\d+)\.(\d+)\.(\d+)", str(server.resolve()))
    if found is None:
        found = re.search(r"/rabbitmq/(\d+)\.(\d+)\.(\d+)/", str(server.resolve()))
    return tuple(map(int, found.groups())) if found else OLDEST
