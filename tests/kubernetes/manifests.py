"""The manifests in `deploy/kubernetes`, read as they stand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION: Final = "kustomization.yaml"
SERVICES: Final = ("users", "orders", "gateway")
CONSOLE: Final = "console"
EVERYBODY: Final = (*SERVICES, CONSOLE)
OTHERS: Final = ("keda.sh", "rabbitmq.com")
"""Whose kinds are not Kubernetes' own."""

Manifest = dict[str, Any]


def kustomizations() -> dict[Path, Manifest]:
    return {path: yaml.safe_load(path.read_text()) for path in FOLDER.rglob(KUSTOMIZATION)}


def manifests() -> list[Manifest]:
    files = (path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != KUSTOMIZATION)
    return [each for path in files for each in yaml.safe_load_all(path.read_text())]


def of_kind(*kinds: str) -> list[Manifest]:
    return [each for each in manifests() if each["kind"] in kinds]


def named(kind: str, name: str) -> Manifest:
    [found] = [each for each in of_kind(kind) if each["metadata"]["name"] == name]
    return found


def label_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def settings_file(name: str) -> dict[str, str]:
    """What a ConfigMap of kustomize's is made from: `settings`, `gateway-settings`."""
    base = kustomizations()[FOLDER / "base" / KUSTOMIZATION]
    [made] = [each for each in base["configMapGenerator"] if each["name"] == name]
    lines = [
        line
        for file in made["envs"]
        for line in (FOLDER / "base" / file).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    return dict(line.split("=", 1) for line in lines)


def example_settings() -> dict[str, str]:
    """What the example adds for the gateway."""
    example = kustomizations()[FOLDER / "example" / KUSTOMIZATION]
    return dict(
        line.split("=", 1) for each in example["configMapGenerator"] for line in each["literals"]
    )


@dataclass(frozen=True, slots=True)
class Deployed:
    """One service's Deployment."""

    name: str
    manifest: Manifest

    @property
    def pod(self) -> Manifest:
        spec: Manifest = self.manifest["spec"]["template"]["spec"]
        return spec

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.manifest["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def container(self) -> Manifest:
        [container] = self.pod["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def environment(self) -> dict[str, str]:
        """As the container has it, from files and by itself; with the example's for the gateway."""
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", []):
            found |= settings_file(source["configMapRef"]["name"])
        found |= {each["name"]: each["value"] for each in self.container.get("env", [])}
        return found | (example_settings() if self.name == "gateway" else {})

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def mounts(self, container: Manifest) -> Iterator[tuple[str, Manifest]]:
        """Each place where a volume is mounted in it, with the volume."""
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        for mount in container["volumeMounts"]:
            yield mount["mountPath"], volumes[mount["name"]]


def deployed() -> list[Deployed]:
    return [Deployed(name, named("Deployment", name)) for name in EVERYBODY]


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a selector selects a pod of these labels."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    wanted: dict[str, str] = selector.get("matchLabels", {})
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return wanted.items() <= labels.items()
