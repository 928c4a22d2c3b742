"""Every manifest is what Kubernetes takes, by its own schemas, with no field unknown to it."""

from typing import Final

import kubernetes_validate
import pytest

from tests.kubernetes.manifests import (
    FOLDER,
    KUSTOMIZATION,
    OTHERS,
    Manifest,
    kustomizations,
    label_of,
    manifests,
    named,
)

VERSIONS: Final = ("1.31", "1.37")
"""The oldest that is told in docs/kubernetes.md, and the newest with schemas."""

OWN: Final = [each for each in manifests() if not each["apiVersion"].split("/")[0].endswith(OTHERS)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", OWN, ids=label_of)
def test_a_manifest_is_valid(manifest: Manifest, version: str) -> None:
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_a_field_that_there_is_not_would_be_found() -> None:
    wrong = named("Deployment", "orders")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_nobody_elses_kinds_are_taken_for_kubernetes_own() -> None:
    others = {label_of(each) for each in manifests() if each not in OWN}

    assert others == {
        "ScaledObject/orders",
        "TriggerAuthentication/orders",
        "RabbitmqCluster/rabbitmq",
    }


def test_what_keda_hands_on_to_kubernetes_is_valid() -> None:
    """Its `behavior` is that of the autoscaler that it makes."""
    scaled = named("ScaledObject", "orders")["spec"]
    handed_on = scaled["advanced"]["horizontalPodAutoscalerConfig"]
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "orders"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"},
            "minReplicas": scaled["minReplicaCount"],
            "maxReplicas": scaled["maxReplicaCount"],
            **handed_on,
        },
    }

    kubernetes_validate.validate(autoscaler, VERSIONS[-1], strict=True)


def test_what_the_broker_hands_on_to_kubernetes_is_valid() -> None:
    """What is laid over its operator's own pods, with where they run and what they take."""
    cluster = named("RabbitmqCluster", "rabbitmq")["spec"]
    pod = cluster["override"]["statefulSet"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    whole = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "rabbitmq"},
        "spec": {
            **pod,
            "affinity": cluster["affinity"],
            "containers": [
                {**container, "image": cluster["image"], "resources": cluster["resources"]}
            ],
        },
    }

    kubernetes_validate.validate(whole, VERSIONS[-1], strict=True)


def test_each_file_is_in_the_kustomization_beside_it() -> None:
    for path, kustomization in kustomizations().items():
        beside = {file.name for file in path.parent.iterdir()} - {KUSTOMIZATION}
        listed = [name for name in kustomization["resources"] if not name.startswith("../")]
        made = [
            name
            for each in kustomization.get("configMapGenerator", [])
            for name in each.get("envs", [])
        ]
        assert {*listed, *made} == beside, path


def test_the_example_has_all_of_it() -> None:
    example = kustomizations()[FOLDER / "example" / KUSTOMIZATION]
    other = [*example["resources"], *example["components"]]

    folders = {(FOLDER / "example" / name).resolve() for name in other}

    assert folders == {path.parent for path in kustomizations()} - {FOLDER / "example"}


def test_a_component_is_one_where_it_is_used_as_one() -> None:
    example = kustomizations()[FOLDER / "example" / KUSTOMIZATION]
    for path, kustomization in kustomizations().items():
        component = f"../{path.parent.name}" in example["components"]
        kind = "Component" if component else "Kustomization"
        assert kustomization["kind"] == kind
        version = "v1alpha1" if component else "v1beta1"
        assert kustomization["apiVersion"] == f"kustomize.config.k8s.io/{version}"
