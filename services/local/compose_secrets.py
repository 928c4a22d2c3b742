"""Makes the secrets that the compose files mount: keys, passwords, and the files that hold them.

Repeating keeps every key and password that is there, and writes the files that follow from
them anew. The folder is closed to everybody else on this machine. What lies in it can be read
by the users of the containers, so the private keys there are encrypted.
"""

import json
import secrets
import sys
from pathlib import Path
from typing import Final

from pydantic import Field

from auth.errors import AuthError
from messaging.sharding import MAX_SHARDS
from services.contracts.rights import RIGHTS
from services.errors import StartError
from services.local.definitions import stack_definitions
from services.local.errors import StateUnusableError
from services.local.logins import OPERATOR, Login
from services.local.ports import LOOPBACK
from services.local.service import CLIENTS
from services.local.trust import make_local_trust
from services.settings import ORDERS_SHARDS, Settings, read_settings

AMQP_PORT: Final = 5672
BROKER_HOST: Final = "rabbitmq"
CLUSTER_HOSTS: Final = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")
"""As `compose/cluster.conf` names them."""

DATABASE_HOST: Final = "postgres"


class SecretsSettings(Settings):
    """What `make secrets` reads from the environment."""

    orders_shards: int = Field(default=1, ge=1, le=MAX_SHARDS, description=ORDERS_SHARDS)


def make_secrets(folder: Path, *, shards: int = 1) -> None:
    """Make what is missing in `folder`.

    shards: of the order consumer's work.

    Raises:
        StateUnusableError: the folder cannot be written.
        AuthError: a key in it cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        passphrase = _kept_secret(folder / "passphrase")
        make_local_trust(folder, passphrase.encode())
        _open_to_containers(folder / "keys")
        _make_broker_logins(folder / "rabbitmq", shards)
        _make_database_logins(folder / "postgres")
    except OSError as error:
        raise StateUnusableError(folder, error) from error


def _make_broker_logins(folder: Path, shards: int) -> None:
    (folder / "cluster").mkdir(parents=True, exist_ok=True)
    _kept_secret(folder / "erlang.cookie")
    logins = {
        name: Login(name, _kept_secret(folder / f"{name}.password")) for name in (*RIGHTS, OPERATOR)
    }
    for client in RIGHTS:
        _write(folder / f"{client}.url", logins[client].url(BROKER_HOST, AMQP_PORT))
        nodes = (logins[client].url(host, AMQP_PORT) for host in CLUSTER_HOSTS)
        _write(folder / "cluster" / f"{client}.url", "\n".join(nodes))
    # The operator comes from outside, by the port that is published on this machine.
    _write(folder / f"{OPERATOR}.url", logins[OPERATOR].url(LOOPBACK, AMQP_PORT))
    definitions = stack_definitions(logins, shards=shards)
    _write(folder / "definitions.json", json.dumps(definitions, indent=1))


def _make_database_logins(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    _kept_secret(folder / "superuser.password")
    statements = []
    for service in CLIENTS:
        password = _kept_secret(folder / f"{service}.password")
        statements += [
            f"CREATE ROLE {service} LOGIN PASSWORD '{password}';",
            f"CREATE DATABASE {service} OWNER {service};",
            f"REVOKE ALL ON DATABASE {service} FROM PUBLIC;",
        ]
        url = f"postgresql+asyncpg://{service}:{password}@{DATABASE_HOST}/{service}"
        _write(folder / f"{service}.url", url)
    _write(folder / "databases.sql", "\n".join([*statements, ""]))


def _kept_secret(file: Path) -> str:
    """The secret in `file`, made up when there is none: 192 bits, safe in a URL and in SQL."""
    if not file.exists():
        _write(file, secrets.token_urlsafe(24))
    return file.read_text().strip()


def _write(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o644)


def _open_to_containers(keys: Path) -> None:
    for path in (keys, *keys.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def main() -> None:
    folder = Path(sys.argv[1])
    try:
        make_secrets(folder, shards=read_settings(SecretsSettings).orders_shards)
    except (StartError, AuthError) as error:
        sys.exit(f"carnet: {error}")
    sys.stderr.write(f"carnet: the secrets are in {folder}/\n")


if __name__ == "__main__":
    main()
