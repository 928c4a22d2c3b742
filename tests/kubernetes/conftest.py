"""The secrets that `make secrets` makes, and what becomes of them on Kubernetes."""

from base64 import b64decode
from pathlib import Path
from typing import Any, Final

import pytest

from services.local.compose_secrets import make_secrets
from services.local.kubernetes_secrets import manifests
from tests.kubernetes.pods import Contents

BROKER: Final = "rabbitmq.carnet.svc"
DATABASE: Final = "postgres.carnet.svc"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "secrets"
    make_secrets(folder)
    return folder


@pytest.fixture(scope="module")
def items(folder: Path) -> list[dict[str, Any]]:
    made = manifests(folder, namespace="carnet", broker=BROKER, database=DATABASE)
    found: list[dict[str, Any]] = made["items"]
    return found


@pytest.fixture(scope="module")
def contents(items: list[dict[str, Any]]) -> Contents:
    return {
        (item["kind"], item["metadata"]["name"]): {
            name: b64decode(value) if item["kind"] == "Secret" else value.encode()
            for name, value in item["data"].items()
        }
        for item in items
    }
