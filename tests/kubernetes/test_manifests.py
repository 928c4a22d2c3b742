"""The manifests say what the services need: settings, secrets, ports, paths, names."""

from pathlib import Path
from typing import Any, Final

import pytest
from yarl import URL

from services.cli.config import SERVICES as READERS
from services.configuration.catalogue import Setting, settings_of
from services.contracts.topology import ORDERS_COMMANDS
from services.gateway.settings import GatewaySettings
from services.health import LIVE, READY
from services.local.service import CLIENTS
from services.settings import read_settings
from services.telemetry.exposition import PATH as METRICS
from tests.kubernetes.manifests import (
    CONSOLE,
    FOLDER,
    KUSTOMIZATION,
    ROOT,
    SERVICES,
    Deployed,
    deployed,
    kustomizations,
    label_of,
    manifests,
    matches,
    named,
    of_kind,
)

EACH: Final = pytest.mark.parametrize("service", deployed(), ids=lambda each: each.name)


def settings(service: Deployed) -> dict[str, Setting]:
    return {each.variable: each for each in settings_of(service.name, READERS[service.name])}


def of_carnet(service: Deployed) -> dict[str, str]:
    return {k: v for k, v in service.environment.items() if k.startswith("CARNET_")}


def test_each_service_of_the_system_is_deployed() -> None:
    assert set(SERVICES) == set(CLIENTS)
    assert {each["metadata"]["name"] for each in of_kind("Deployment")} == {*SERVICES, CONSOLE}


@EACH
def test_each_variable_is_a_setting_of_the_service(service: Deployed) -> None:
    known = settings(service)

    assert {name.removesuffix("_FILE") for name in of_carnet(service)} <= known.keys()
    assert all(known[name.removesuffix("_FILE")].from_file for name in of_carnet(service))


@EACH
def test_the_service_takes_what_it_is_told(
    service: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Complete and possible: only what is secret comes from files of ours."""
    secrets = {
        "CARNET_AMQP_URL_FILE": "amqps://name:password@rabbitmq.carnet.svc:5671/%2F",
        "CARNET_DATABASE_URL_FILE": "postgresql+asyncpg://name:password@postgres.carnet.svc/name",
        "CARNET_KEY_PASSPHRASE_FILE": "passphrase",
    }
    if service.name == CONSOLE:
        del secrets["CARNET_DATABASE_URL_FILE"]
    for name, value in of_carnet(service).items():
        if name in secrets:
            (tmp_path / name).write_text(secrets.pop(name))
            monkeypatch.setenv(name, str(tmp_path / name))
        else:
            monkeypatch.setenv(name, value)

    read = read_settings(READERS[service.name])

    assert secrets == {}
    assert list(read.doubts()) == []
    if isinstance(read, GatewaySettings):
        assert read.options().public_url == "https://carnet.example.org"


@EACH
def test_no_secret_is_in_a_variable(service: Deployed) -> None:
    secret = {name for name, setting in settings(service).items() if setting.secret}

    assert not secret & of_carnet(service).keys()
    for container in (*service.pod["initContainers"], service.container):
        assert all("valueFrom" not in each for each in container.get("env", []))
        assert all("secretRef" not in each for each in container.get("envFrom", []))


@EACH
def test_probes_ask_where_the_service_answers(service: Deployed) -> None:
    environment = service.environment
    listening = {"http": environment["CARNET_PORT"]}
    if service.name in {"gateway", CONSOLE}:
        listening["internal"] = environment["CARNET_METRICS_PORT"]
    asked = {
        kind: service.container[f"{kind}Probe"]["httpGet"]
        for kind in ("startup", "liveness", "readiness")
    }

    assert {name: str(port) for name, port in service.ports.items()} == listening
    assert {kind: each["path"] for kind, each in asked.items()} == {
        "startup": LIVE,
        "liveness": LIVE,
        "readiness": READY,
    }
    assert {each["port"] for each in asked.values()} <= service.ports.keys()
    assert environment["CARNET_HOST"] == "0.0.0.0"  # noqa: S104 - the kubelet comes from outside


@EACH
def test_metrics_are_asked_for_where_they_are(service: Deployed) -> None:
    told = service.manifest["spec"]["template"]["metadata"]["annotations"]
    environment = service.environment

    assert METRICS == "/metrics"  # what is asked for where no annotation names another path
    assert told["prometheus.io/port"] == environment.get(
        "CARNET_METRICS_PORT", environment["CARNET_PORT"]
    )


@EACH
def test_a_start_and_a_stop_have_their_time(service: Deployed) -> None:
    environment, startup = service.environment, service.container["startupProbe"]
    before = service.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    draining = float(environment["CARNET_SHUTDOWN_DEADLINE"])
    turn = 60  # of another replica that migrates: messaging.migrations

    grace = service.pod["terminationGracePeriodSeconds"]

    assert grace >= before.get("seconds", 0) + 2 * draining
    assert startup["periodSeconds"] * startup["failureThreshold"] >= turn + float(
        environment["CARNET_START_DEADLINE"]
    )


@EACH
def test_every_container_is_confined(service: Deployed) -> None:
    pod = service.pod
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # a Service of the name carnet would be CARNET_PORT
    assert pod["securityContext"] | {"fsGroup": 0} == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "USER 10001:10001" in dockerfile
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}


@EACH
def test_only_its_own_folders_can_be_written(service: Deployed) -> None:
    readonly = {
        mount["mountPath"] for mount in service.container["volumeMounts"] if mount.get("readOnly")
    }
    places = dict(service.mounts(service.container))

    assert {place for place in places if "emptyDir" in places[place]} - readonly == {
        "/tmp",  # noqa: S108 - the container's own
        "/var/lib/carnet",
    }
    assert service.environment["CARNET_TRUST_STATE"].startswith("/var/lib/carnet/")


@pytest.mark.parametrize("service", deployed()[:-1], ids=lambda each: each.name)
def test_one_of_its_pods_may_go_and_one_stays(service: Deployed) -> None:
    budget = named("PodDisruptionBudget", service.name)["spec"]

    assert matches(budget["selector"], service.labels)
    assert service.manifest["spec"]["selector"] == budget["selector"]
    assert service.manifest["spec"]["replicas"] > budget["maxUnavailable"]


def test_each_budget_and_each_service_selects_the_pods_of_one() -> None:
    for each in of_kind("PodDisruptionBudget"):
        name, selector = each["metadata"]["name"], each["spec"]["selector"]
        selected = [d.name for d in deployed() if matches(selector, d.labels)]
        broker = {
            "app.kubernetes.io/name": named("RabbitmqCluster", "rabbitmq")["metadata"]["name"]
        }
        assert selected == [name] or selector == {"matchLabels": broker}
    for each in of_kind("Service"):
        [service] = [
            d for d in deployed() if matches({"matchLabels": each["spec"]["selector"]}, d.labels)
        ]
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= service.ports.keys()


def test_the_ingress_leads_to_the_gateways_public_port_alone() -> None:
    [ingress] = of_kind("Ingress")
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    backend = path["backend"]["service"]
    service = named("Service", backend["name"])["spec"]
    [port] = [each for each in service["ports"] if each["name"] == backend["port"]["name"]]
    example = kustomizations()[FOLDER / "example" / KUSTOMIZATION]
    [told] = example["configMapGenerator"]

    assert port["targetPort"] == "http"
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    assert f"CARNET_PUBLIC_URL=https://{rule['host']}" in told["literals"]


# ---- who may speak with whom


def policy(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = named("NetworkPolicy", name)["spec"]
    return spec


def ports(rule: dict[str, Any]) -> set[int]:
    return {each["port"] for each in rule["ports"]}


def test_nobody_reaches_a_pod_but_as_a_policy_says() -> None:
    assert policy("nobody") == {"podSelector": {}, "policyTypes": ["Ingress"]}


@EACH
def test_a_service_reaches_broker_database_and_names_alone(service: Deployed) -> None:
    bounding = [
        each
        for each in of_kind("NetworkPolicy")
        if "Egress" in each["spec"]["policyTypes"]
        and matches(each["spec"]["podSelector"], service.labels)
    ]

    own = {CONSOLE: "console"}.get(service.name, "databases")
    assert {each["metadata"]["name"] for each in bounding} == {"services", own}
    names, broker = policy("services")["egress"]
    [more] = policy(own)["egress"]
    assert [ports(names), ports(broker)] == [{53}, {5672}]
    assert ports(more) == ({8000, 9464} if service.name == CONSOLE else {5432})
    [reached] = broker["to"]
    cluster = named("RabbitmqCluster", "rabbitmq")["metadata"]["name"]
    assert reached == {"podSelector": {"matchLabels": {"app.kubernetes.io/name": cluster}}}


def test_only_an_ingress_reaches_the_gateway_and_only_its_public_port() -> None:
    spec = policy("gateway")
    [rule] = spec["ingress"]
    gateway = deployed()[SERVICES.index("gateway")]

    assert [d.name for d in deployed() if matches(spec["podSelector"], d.labels)] == ["gateway"]
    assert ports(rule) == {gateway.ports["http"]}
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"carnet/ingress": "true"}}}]


def test_the_console_looks_at_what_the_others_tell_and_at_nothing_else() -> None:
    console = deployed()[-1]
    [looks] = policy("console")["egress"]
    [told] = policy("metrics")["ingress"]
    watches = console.environment["CARNET_CONSOLE_WATCHES"].split(",")
    asked = {name: URL(url) for name, url in (each.split("=") for each in watches)}

    assert asked.keys() == set(SERVICES)
    for each in deployed()[:-1]:
        service = named("Service", str(asked[each.name].host))["spec"]
        assert service["clusterIP"] == "None"  # each replica is one to look at
        assert matches({"matchLabels": service["selector"]}, each.labels)
        assert asked[each.name].port in {port["port"] for port in service["ports"]}
        assert asked[each.name].port in ports(looks)
        assert all(matches(to["podSelector"], each.labels) for to in looks["to"])
    assert {"podSelector": policy("console")["podSelector"]} in told["from"]
    assert ports(looks) == ports(told)


def test_only_operators_reach_the_console() -> None:
    spec = policy("console")
    [rule] = spec["ingress"]

    assert [d.name for d in deployed() if matches(spec["podSelector"], d.labels)] == ["console"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"carnet/operators": "true"}}}]
    assert "console" not in str(of_kind("Ingress"))


@EACH
def test_the_broker_lets_each_service_in(service: Deployed) -> None:
    rule = policy("rabbitmq")["ingress"][0]

    assert ports(rule) == {5672}
    assert matches(rule["from"][0]["podSelector"], service.labels)


# ---- KEDA and the broker


def test_keda_counts_the_queue_of_the_orders_deployment() -> None:
    scaled = named("ScaledObject", "orders")["spec"]
    [trigger] = scaled["triggers"]
    orders = deployed()[SERVICES.index("orders")]

    assert orders.environment["CARNET_ORDERS_SHARDS"] == "1"  # with more, each has a queue
    assert trigger["type"] == "rabbitmq"
    assert trigger["metadata"]["queueName"] == ORDERS_COMMANDS.name
    assert trigger["metadata"]["mode"] == "QueueLength"
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert scaled["scaleTargetRef"]["name"] == orders.manifest["metadata"]["name"]
    budget = named("PodDisruptionBudget", "orders")["spec"]
    assert budget["maxUnavailable"] < scaled["minReplicaCount"] < scaled["maxReplicaCount"]


def test_keda_logs_in_by_a_secret_that_there_is() -> None:
    [trigger] = named("ScaledObject", "orders")["spec"]["triggers"]
    given = named("TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
    orders = deployed()[SERVICES.index("orders")]
    mounted = dict(orders.mounts(orders.container))["/run/carnet/secrets"]["secret"]["secretName"]

    assert given == {"secretTargetRef": [{"parameter": "host", "name": mounted, "key": "amqp_url"}]}


def test_with_keda_nobody_else_says_how_many_there_are() -> None:
    component = kustomizations()[FOLDER / "keda" / KUSTOMIZATION]
    [patch] = component["patches"]

    assert patch["target"] == {"kind": "Deployment", "name": "orders"}
    assert "op: remove" in patch["patch"]
    assert "path: /spec/replicas" in patch["patch"]


def test_the_broker_is_set_up_as_the_cluster_of_compose_is() -> None:
    """But for how its nodes find each other, which is the operator's to say."""
    spec = named("RabbitmqCluster", "rabbitmq")["spec"]
    said = dict(
        line.split(" = ", 1) for line in spec["rabbitmq"]["additionalConfig"].splitlines() if line
    )
    compose = dict(
        line.split(" = ", 1)
        for line in (ROOT / "compose" / "cluster.conf").read_text().splitlines()
        if " = " in line and not line.startswith(("#", "cluster_formation"))
    )
    pod = spec["override"]["statefulSet"]["spec"]["template"]["spec"]
    [mount] = pod["containers"][0]["volumeMounts"]
    [volume] = pod["volumes"]

    definitions = Path(said.pop("load_definitions"))

    compose.pop("load_definitions")
    assert said == compose
    assert definitions.parent == Path(mount["mountPath"])
    assert volume["name"] == mount["name"]
    assert spec["replicas"] == int(said["quorum_queue.initial_cluster_size"])


def test_nothing_names_a_host_but_the_brokers_service() -> None:
    """The URLs are in Secrets; what the manifests name is an example, or of this namespace."""
    hosts = {
        URL(value).host
        for each in deployed()
        for name, value in each.environment.items()
        if "://" in value and name != "CARNET_CONSOLE_WATCHES"
    }
    assert hosts == {"carnet.example.org"}
    assert {label_of(each) for each in manifests() if each["kind"] == "Secret"} == set()
