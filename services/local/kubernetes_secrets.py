"""Writes what `make secrets` has made as Secrets and a ConfigMap of Kubernetes, for the manifests.

trust                     ConfigMap: trust root and key set statement, both public
<service>                 passphrase, amqp_url, database_url
console                   passphrase, amqp_url
<service>-keys            the service's private keys, encrypted
issuer                    the issuer's, for the user service alone
rabbitmq-definitions      logins, rights and topology of an empty broker

The trust root's private key is none of it.
"""

import argparse
import json
import os
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

from services.errors import StartError
from services.keyring import ISSUER
from services.local.compose_secrets import AMQP_PORT
from services.local.logins import Login
from services.local.service import CLIENT_OF, CLIENTS

NAMESPACE: Final = "carnet"
FILE: Final = "kubernetes.json"

Manifest = dict[str, Any]


def manifests(folder: Path, *, namespace: str, broker: str, database: str) -> Manifest:
    """A List of all of them, from the files in `folder`.

    broker: host of the broker.   database: host and port of PostgreSQL.

    Raises:
        StartError: a file cannot be read.
    """
    try:
        items = [_trust(folder)]
        for service, client_id in CLIENT_OF.items():
            connections = _connections(folder, client_id, broker)
            if service in CLIENTS:
                connections["database_url"] = _database(folder, service, database)
            items += [
                _secret(service, connections),
                _secret(f"{service}-keys", _keys(folder / "keys" / client_id)),
            ]
            if (issuer := folder / "keys" / client_id / ISSUER).is_dir():
                items.append(_secret(ISSUER, _keys(issuer)))
        definitions = (folder / "rabbitmq" / "definitions.json").read_bytes()
        items.append(_secret("rabbitmq-definitions", {"definitions.json": definitions}))
    except OSError as error:
        raise StartError(
            f"{error.filename}: cannot read: {error.strerror}; run: make secrets"
        ) from error
    for item in items:
        item["metadata"]["namespace"] = namespace
    return {"apiVersion": "v1", "kind": "List", "items": items}


def write_manifests(folder: Path, *, namespace: str, broker: str, database: str) -> Path:
    """Write them beside what they are made from, closed to others.

    Raises:
        StartError: a file cannot be read or written.
    """
    made = manifests(folder, namespace=namespace, broker=broker, database=database)
    file = folder / FILE
    try:
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as open_file:
            json.dump(made, open_file, indent=1)
    except OSError as error:
        raise StartError(f"{file}: cannot write: {error.strerror}") from error
    return file


def _connections(folder: Path, client_id: str, broker: str) -> dict[str, bytes]:
    password = (folder / "rabbitmq" / f"{client_id}.password").read_text().strip()
    return {
        "passphrase": (folder / "passphrase").read_bytes(),
        "amqp_url": Login(client_id, password).url(broker, AMQP_PORT).encode(),
    }


def _database(folder: Path, service: str, database: str) -> bytes:
    password = (folder / "postgres" / f"{service}.password").read_text().strip()
    return f"postgresql+asyncpg://{service}:{password}@{database}/{service}".encode()


def _keys(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.pem"))}


def _trust(folder: Path) -> Manifest:
    names = ("trust-root.json", "key-set.jwt")
    data = {name: (folder / name).read_text(encoding="ascii") for name in names}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust"}, "data": data}


def _secret(name: str, content: dict[str, bytes]) -> Manifest:
    data = {key: b64encode(value).decode() for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.local.kubernetes_secrets")
    parser.add_argument("folder", type=Path, help="that make secrets has made")
    parser.add_argument("--namespace", default=NAMESPACE)
    parser.add_argument("--broker", help="its host; rabbitmq.<namespace>.svc if not given")
    parser.add_argument("--database", help="its host; postgres.<namespace>.svc if not given")
    given = parser.parse_args()
    try:
        file = write_manifests(
            given.folder,
            namespace=given.namespace,
            broker=given.broker or f"rabbitmq.{given.namespace}.svc",
            database=given.database or f"postgres.{given.namespace}.svc",
        )
    except StartError as error:
        sys.exit(f"carnet: {error}")
    sys.stderr.write(f"carnet: kubectl apply --server-side -f {file}\n")


if __name__ == "__main__":
    main()
