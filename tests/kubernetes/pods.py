"""A pod as folders on this machine: its volumes, filled, and its init container's command run."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.cli.config import SERVICES as READERS
from services.settings import ProcessSettings
from tests.kubernetes.manifests import Deployed

Contents = dict[tuple[str, str], dict[str, bytes]]
"""What ConfigMaps and Secrets hold, by kind and name."""


class Container:
    """The volumes of a pod as folders, and its init container's command run on them."""

    def __init__(self, service: Deployed, contents: Contents, root: Path) -> None:
        self._root = root
        self._at("/run/carnet/private").mkdir(parents=True)
        [init] = service.pod["initContainers"]
        for container in (init, service.container):
            for place, volume in service.mounts(container):
                for name, value in _mounted(volume, contents).items():
                    self._at(place).mkdir(parents=True, exist_ok=True)
                    (self._at(place) / name).write_bytes(value)
        shell, options, script = init["command"]
        subprocess.run(  # noqa: S603 - the manifest's own
            [shell, options, script.replace("/run/carnet/", f"{self._at('/run/carnet')}/")],
            check=True,
        )
        self.environment = {
            name: str(self._at(value)) if value.startswith("/") else value
            for name, value in service.environment.items()
        }
        kind = READERS[service.name]
        assert issubclass(kind, ProcessSettings)
        self.settings = kind.model_validate(dict(self._values()))

    def _values(self) -> Iterator[tuple[str, str]]:
        for name, value in self.environment.items():
            if name.startswith("CARNET_"):
                field = name.removeprefix("CARNET_").removesuffix("_FILE").lower()
                yield field, Path(value).read_text() if name.endswith("_FILE") else value

    def _at(self, place: str) -> Path:
        return self._root / place.removeprefix("/")


def _mounted(volume: dict[str, Any], contents: Contents) -> dict[str, bytes]:
    if "secret" in volume:
        return contents["Secret", volume["secret"]["secretName"]]
    if "configMap" in volume:
        return contents["ConfigMap", volume["configMap"]["name"]]
    return {}
