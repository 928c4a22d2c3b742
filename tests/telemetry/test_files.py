"""The files in compose/telemetry: they parse, fit together, and name nothing that is not there."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from services.demo.client import Account, ShopClient, next_event
from tests.telemetry.conftest import Watched
from tests.telemetry.expressions import (
    PROMETHEUS_OWN,
    labels_of,
    named_in,
    of_the_broker,
    samples_of,
)
from tests.telemetry.tools import ROOT, run

FOLDER: Final = ROOT / "compose" / "telemetry"
DASHBOARD: Final = FOLDER / "grafana" / "carnet.json"
ALERTS: Final = FOLDER / "alerts.yaml"
ALERT_TESTS: Final = FOLDER / "alerts.test.yaml"


def _yaml(*path: str) -> Any:
    return yaml.safe_load((ROOT.joinpath(*path)).read_text(encoding="utf-8"))


class _Merging(yaml.SafeLoader):  # type: ignore[misc]  # the library has no types
    """Reads Compose's own tags as well: how a file is merged with the one below."""


_Merging.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_sequence(node))

COMPOSE: Final = _yaml("compose.yaml")
PROFILE: Final = {
    name: service
    for name, service in COMPOSE["services"].items()
    if service.get("profiles") == ["telemetry"]
}


def rules() -> dict[str, Any]:
    return {
        rule["alert"]: rule
        for group in _yaml("compose", "telemetry", "alerts.yaml")["groups"]
        for rule in group["rules"]
    }


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Each panel's expressions, with what Grafana puts in the place of its variables."""
    return [
        (panel["title"], target["expr"].replace("$job", ".+").replace("$__rate_interval", "1m"))
        for panel in panels()
        for target in panel["targets"]
    ]


async def _told(watched: Watched, shop: ShopClient, account: Account) -> list[str]:
    """Scrapes of every service, after something of everything has happened."""
    await shop.orders(account)
    async with shop.events(account) as events:
        await shop.place(account, [{"sku": "tea", "quantity": 1, "unit_price": "1"}])
        await next_event(events, within=20)
    return [await watched.scrape(service) for service in watched.addresses]


async def test_the_dashboard_asks_for_nothing_that_no_service_tells(
    watched: Watched, shop: ShopClient, account: Account
) -> None:
    told = set().union(*map(samples_of, await _told(watched, shop, account)))

    asked = {name for _, expression in queries() for name in named_in(expression)}

    assert asked - told - PROMETHEUS_OWN - of_the_broker(asked) == set()


async def test_the_alerts_watch_nothing_that_no_service_tells(
    watched: Watched, shop: ShopClient, account: Account
) -> None:
    told = set().union(*map(samples_of, await _told(watched, shop, account)))

    asked = {name for rule in rules().values() for name in named_in(rule["expr"])}

    assert asked - told - PROMETHEUS_OWN - of_the_broker(asked) == set()


async def test_every_metric_of_ours_is_on_the_dashboard(
    watched: Watched, shop: ShopClient, account: Account
) -> None:
    """But for those that only tell what a process is, or that an alert watches."""
    scraped = await _told(watched, shop, account)
    told = {name for text in scraped for name in labels_of(text)}
    ours = {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        for name in told
        if not name.startswith("process_")
    }

    asked = " ".join(expression for _, expression in queries())

    unseen = {name for name in ours if name not in asked}
    watched_by_alerts = {"carnet_trust_fresh", "carnet_broker_connected"}
    assert unseen == {"carnet_info", "carnet_key_set_version", *watched_by_alerts}


def test_expressions_are_taken_apart() -> None:
    """What the tests above stand on."""
    expression = (
        'histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{x="b_total"}[5m]))) / '
        "on (job) c_total > 30 * 86400 or vector(0)"
    )

    assert named_in(expression) == {"a_bucket", "c_total"}


def test_the_dashboard_is_one() -> None:
    read = dashboard()

    assert read["uid"] == "carnet"
    assert len({panel["id"] for panel in read["panels"]}) == len(read["panels"])
    for panel in panels():
        assert all(panel[field] for field in ("title", "description", "targets"))
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells


def test_every_expression_of_the_dashboard_is_one(tmp_path: Any) -> None:
    """Prometheus' own parser says so: each is the expression of a rule."""
    file = tmp_path / "dashboard.yaml"
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(queries())
    ]
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))

    run("promtool", "check", "rules", str(file))


def test_prometheus_takes_its_configuration_and_the_alerts() -> None:
    run("promtool", "check", "config", str(FOLDER / "prometheus.yaml"))


def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    run("promtool", "test", "rules", str(ALERT_TESTS))


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fired: dict[bool, set[str]] = {True: set(), False: set()}
    for case in _yaml("compose", "telemetry", "alerts.test.yaml")["tests"]:
        for asked in case["promql_expr_test"]:
            name = asked["expr"].split('"')[1]
            fired[bool(asked["exp_samples"])].add(name)

    assert fired[True] == fired[False] == set(rules())


@pytest.mark.parametrize("name", rules())
def test_an_alert_says_whom_it_concerns_and_what_to_do(name: str) -> None:
    rule = rules()[name]

    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "description"}
    document = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in document


def test_every_file_that_the_profile_mounts_is_there() -> None:
    assert PROFILE.keys() == {"prometheus", "collector", "jaeger", "grafana"}
    mounted = {
        volume.split(":")[0]
        for service in PROFILE.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }

    assert all((ROOT / path).is_file() for path in mounted)
    unmounted = {str(path.relative_to(ROOT)) for path in FOLDER.rglob("*") if path.is_file()} - {
        path.removeprefix("./") for path in mounted
    }
    assert unmounted == {str(ALERT_TESTS.relative_to(ROOT))}


def test_what_is_published_is_published_on_loopback_alone() -> None:
    published = [port for service in PROFILE.values() for port in service.get("ports", [])]

    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_prometheus_asks_where_services_answer() -> None:
    asked = {
        job["job_name"]: (job["dns_sd_configs"][0]["names"], job["dns_sd_configs"][0]["port"])
        for job in _yaml("compose", "telemetry", "prometheus.yaml")["scrape_configs"]
    }

    def settings(service: str) -> dict[str, str]:
        told: dict[str, str] = COMPOSE["services"][service]["environment"]
        return told

    assert asked == {
        "users": (["users"], int(settings("users")["CARNET_PORT"])),
        "orders": (["orders"], int(settings("orders")["CARNET_PORT"])),
        "gateway": (["gateway"], int(settings("gateway")["CARNET_METRICS_PORT"])),
        "rabbitmq": (["rabbitmq-nodes"], 15692),  # the plugin's own
        "console": (["console"], int(settings("console")["CARNET_METRICS_PORT"])),
    }
    assert settings("gateway")["CARNET_METRICS_HOST"] == settings("users")["CARNET_HOST"]


def test_prometheus_asks_every_node_of_the_broker() -> None:
    """By one name, which the one node has, and in a cluster each."""
    one = COMPOSE["services"]["rabbitmq"]["networks"]["default"]["aliases"]
    text = (ROOT / "compose.cluster.yaml").read_text()
    cluster = yaml.load(text, Loader=_Merging)["services"]  # noqa: S506 - it is a safe one

    assert one == ["rabbitmq-nodes"]
    assert "rabbitmq-nodes" in cluster["rabbitmq"]["networks"]["default"]["aliases"]
    for name in ("rabbitmq-2", "rabbitmq-3"):
        assert cluster[name]["extends"] == {"file": "compose.yaml", "service": "rabbitmq"}
        assert "networks" not in cluster[name]
    enabled = (ROOT / "compose" / "enabled_plugins").read_text()
    assert "rabbitmq_prometheus" in enabled


def test_a_span_finds_its_way_to_the_trace_store() -> None:
    """Service to collector to Jaeger: each name and port is the next one's."""
    collector = _yaml("compose", "telemetry", "collector.yaml")
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]

    assert f"http://collector:{port}" in (ROOT / "compose.yaml").read_text(encoding="utf-8")
    onward = urlsplit(collector["exporters"]["otlphttp"]["endpoint"])
    assert (onward.hostname, onward.port) == ("jaeger", 4318)  # Jaeger's own for OTLP over HTTP
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= collector[kind].keys()


def test_grafana_finds_its_sources_and_its_dashboard() -> None:
    sources = {
        source["uid"]: urlsplit(source["url"])
        for source in _yaml("compose", "telemetry", "grafana", "datasources.yaml")["datasources"]
    }
    (provider,) = _yaml("compose", "telemetry", "grafana", "dashboards.yaml")["providers"]

    assert {url.hostname for url in sources.values()} <= PROFILE.keys()
    mounts = [volume.split(":")[1] for volume in PROFILE["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/{DASHBOARD.name}" in mounts
    assert {panel["datasource"]["uid"] for panel in panels()} <= sources.keys()
