"""`make secrets`: complete, closed to others, and stable."""

import json
import stat
from pathlib import Path

import pytest
import yaml

from auth.errors import KeyFileError
from auth.keys import SigningKey
from messaging.nodes import parse_urls
from services.contracts.topology import orders_commands
from services.local.compose_secrets import make_secrets

ROOT = Path(__file__).parents[3]


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Compose's own tags say how one file is laid over another; here they say nothing."""


for tag in ("!reset", "!override"):
    Loader.add_constructor(tag, lambda loader, node: loader.construct_sequence(node))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_secrets(tmp_path / "secrets")
    return tmp_path / "secrets"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nobody_else_on_the_machine_may_enter(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "root" / "root.pem").stat().st_mode) == 0o600


def test_every_private_key_is_encrypted(folder: Path) -> None:
    keys = [*folder.rglob("*.pem")]
    passphrase = (folder / "passphrase").read_bytes()

    assert keys
    for key in keys:
        assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    seal = folder / "keys" / "order-service" / "seal.pem"
    assert SigningKey.load(seal, passphrase)
    with pytest.raises(KeyFileError):
        SigningKey.load(seal)


def test_repeating_keeps_every_secret(folder: Path) -> None:
    before = contents(folder)

    make_secrets(folder)

    definitions = folder / "rabbitmq" / "definitions.json"  # salted anew
    assert {path: text for path, text in contents(folder).items() if path != definitions} == {
        path: text for path, text in before.items() if path != definitions
    }


def test_the_broker_is_given_the_shards_that_the_services_will_want(tmp_path: Path) -> None:
    make_secrets(tmp_path, shards=4)

    definitions = json.loads((tmp_path / "rabbitmq" / "definitions.json").read_text())
    queues = {queue["name"] for queue in definitions["queues"]}
    assert queues >= {*orders_commands(4).consumed}
    assert orders_commands(5).consumed[-1] not in queues


@pytest.mark.parametrize("file", ["compose.yaml", "compose.cluster.yaml"])
def test_it_makes_every_file_that_compose_mounts(folder: Path, file: str) -> None:
    compose = yaml.load((ROOT / file).read_text(), Loader)  # noqa: S506 - a safe one
    wanted = [secret["file"] for secret in compose["secrets"].values()]
    for service in compose["services"].values():
        wanted += [mount.rpartition(":/")[0] for mount in service.get("volumes", ())]

    from_secrets = [each for each in wanted if each.startswith("${CARNET_SECRETS")]

    assert from_secrets
    for each in from_secrets:
        assert (folder / each.partition("}/")[2]).exists(), each


def test_the_services_of_a_cluster_know_each_of_its_nodes(folder: Path) -> None:
    configuration = (ROOT / "compose" / "cluster.conf").read_text()
    urls = parse_urls((folder / "rabbitmq" / "cluster" / "order-service.url").read_text())

    nodes = [f"nodes.{number} = rabbit@{url.host}" for number, url in enumerate(urls, start=1)]

    assert len(nodes) == 3
    assert all(f"cluster_formation.classic_config.{node}" in configuration for node in nodes)
