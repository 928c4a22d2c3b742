"""`make kubernetes-secrets`: what `make secrets` has made gets to where the manifests mount it."""

import json
import os
import stat
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest

from auth.errors import KeyFileError
from auth.keys import SigningKey
from messaging.nodes import parse_urls
from services.errors import StartError
from services.identity import load_identity, load_key_set
from services.local.compose_secrets import make_secrets
from services.local.kubernetes_secrets import FILE, manifests, write_manifests
from services.local.service import CLIENT_OF, CONSOLE
from services.settings import ServiceSettings
from services.startup import examine_key_folder, require_standing
from services.users.keyfolder import KeyFolder
from tests.kubernetes.conftest import BROKER, DATABASE
from tests.kubernetes.manifests import Deployed, deployed
from tests.kubernetes.pods import Container, Contents

EACH: Final = pytest.mark.parametrize("service", deployed(), ids=lambda each: each.name)


@pytest.fixture
def container(service: Deployed, contents: Contents, tmp_path: Path) -> Container:
    return Container(service, contents, tmp_path)


@EACH
def test_a_service_finds_its_keys_and_is_believed(service: Deployed, container: Container) -> None:
    settings, now = container.settings, time.time()
    key_set = load_key_set(settings, now=now)
    identity = load_identity(CLIENT_OF[service.name], settings, key_set)

    require_standing(settings, identity, key_set, now=now)

    assert examine_key_folder(settings).verdict.value == "ok"
    for path in settings.keys.rglob("*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@EACH
def test_a_service_has_its_own_login_and_database(service: Deployed, container: Container) -> None:
    [url] = parse_urls(container.settings.amqp_url.get_secret_value())
    assert (url.user, url.host, url.port) == (CLIENT_OF[service.name], BROKER, 5672)
    if service.name == CONSOLE:
        return
    assert isinstance(container.settings, ServiceSettings)
    database = container.settings.database_url.get_secret_value()
    assert database.startswith(f"postgresql+asyncpg://{service.name}:")
    assert database.endswith(f"@{DATABASE}/{service.name}")


@EACH
def test_the_issuers_keys_are_with_the_user_service_alone(
    service: Deployed, container: Container
) -> None:
    keys = container.settings.keys / "issuer"

    if service.name == "users":
        key_set = load_key_set(container.settings, now=time.time())
        held = KeyFolder(keys, container.settings.passphrase).look()
        assert held.keys() == key_set.issuer_keys.keys()
    else:
        assert not keys.exists()


def test_what_is_written_is_valid_and_of_the_namespace(items: list[dict[str, Any]]) -> None:
    for item in items:
        kubernetes_validate.validate(item, "1.37", strict=True)
        assert item["metadata"]["namespace"] == "carnet"


def test_no_key_is_there_in_the_clear_and_the_roots_not_at_all(
    folder: Path, items: list[dict[str, Any]], contents: Contents, tmp_path: Path
) -> None:
    root = (folder / "root" / "root.pem").read_bytes()
    found = [value for each in contents.values() for value in each.values()]
    keys = [value for each in contents.values() for k, value in each.items() if k.endswith(".pem")]

    assert root not in found
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in key for key in keys)
    assert (
        len(keys) == 2 * len(CLIENT_OF) + 2
    )  # seal and enc of each; the issuer's present and next
    (tmp_path / "key.pem").write_bytes(contents["Secret", "orders-keys"]["seal.pem"])
    with pytest.raises(KeyFileError):
        SigningKey.load(tmp_path / "key.pem", b"another passphrase")
    assert {item["metadata"]["name"] for item in items if item["kind"] == "ConfigMap"} == {"trust"}


def test_the_file_is_closed_to_others_also_where_it_was_open(folder: Path) -> None:
    (folder / FILE).write_text("")
    (folder / FILE).chmod(0o644)

    file = write_manifests(folder, namespace="shop", broker="b", database="d")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["items"][0]["metadata"]["namespace"] == "shop"


def test_a_key_that_is_listed_as_next_comes_with_the_others(tmp_path: Path) -> None:
    """So that who has the Secret can seal by it as soon as a statement makes it the active one."""
    folder = tmp_path / "secrets"
    make_secrets(folder)
    passphrase = str(folder / "passphrase")
    environment = os.environ | {
        "CARNET_STATE": str(folder),
        "CARNET_ROOT_PASSPHRASE_FILE": passphrase,
        "CARNET_KEY_PASSPHRASE_FILE": passphrase,
    }
    carnet = Path(sys.executable).with_name("carnet")
    subprocess.run([carnet, "trust", "rotate", "api-gateway"], env=environment, check=True)  # noqa: S603

    made = manifests(folder, namespace="carnet", broker=BROKER, database=DATABASE)

    [keys] = [each for each in made["items"] if each["metadata"]["name"] == "gateway-keys"]
    assert keys["data"].keys() == {"enc.pem", "seal.pem", "seal.next.pem"}


def test_without_secrets_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot read: No such file or directory; run: make"):
        manifests(tmp_path, namespace="carnet", broker=BROKER, database=DATABASE)


def test_the_command_writes_them_and_says_how_to_apply_them(folder: Path) -> None:
    command = (sys.executable, "-m", "services.local.kubernetes_secrets", str(folder))
    ran = subprocess.run(  # noqa: S603 - our own
        [*command, "--namespace", "shop"], capture_output=True, text=True, check=True
    )

    assert ran.stderr == f"carnet: kubectl apply --server-side -f {folder / FILE}\n"
    text = (folder / FILE).read_text()
    assert json.loads(text)["kind"] == "List"
    [url] = {
        b64decode(item["data"]["amqp_url"]).decode().rpartition("@")[2]
        for item in json.loads(text)["items"]
        if "amqp_url" in item["data"]
    }
    assert url == "rabbitmq.shop.svc:5672/%2F"
