"""A service's telemetry as its environment says: metrics always, traces where a collector is named.

The variables are OpenTelemetry's own (opentelemetry.io/docs/specs/otel/configuration): whoever runs
services knows them, and every other service takes them too.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from messaging.metrics import Metrics
from messaging.telemetry import Telemetry
from messaging.tracing import OFF
from services.telemetry.process import python_version, watch_loop, watch_process

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DISABLED: Final = "OTEL_SDK_DISABLED"
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
NAME: Final = "OTEL_SERVICE_NAME"
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARG: Final = "OTEL_TRACES_SAMPLER_ARG"


def traces_wanted(environment: Mapping[str, str]) -> bool:
    """Whether a collector of traces is named, and nothing says otherwise."""
    return (
        any(environment.get(name, "").strip() for name in ENDPOINTS)
        and environment.get(DISABLED, "").strip().lower() != "true"
        and environment.get(EXPORTER, "").strip() != "none"
    )


def share_of_traces(environment: Mapping[str, str]) -> float:
    """Of the traces that begin here, how many the sampler of the environment chooses, from 0 to 1.

    By parent or not: what begins here has none. As the library reads it, what it does not know is
    everything.
    """
    sampler = environment.get(SAMPLER, "").lower().removeprefix("parentbased_")
    if sampler == "always_off":
        return 0.0
    if sampler != "traceidratio":
        return 1.0
    try:
        share = float(environment.get(SAMPLER_ARG, ""))
    except ValueError:
        return 1.0
    return share if 0 <= share <= 1 else 1.0


def open_telemetry(service: str, environment: Mapping[str, str]) -> Telemetry:
    """The telemetry of this process, on the running event loop."""
    metrics = Metrics()
    metrics.gauge(
        "carnet_info", "Which service this is, always 1.", labels=("service", "version", "python")
    ).of(service, version("carnet"), python_version()).follow(lambda: 1)
    watch_process(metrics)
    watch_loop(metrics)
    if not traces_wanted(environment):
        return Telemetry(metrics, OFF)
    # Only here: who traces nothing shall not pay for it.
    from services.telemetry.otlp import open_tracing  # noqa: PLC0415

    tracing = open_tracing(service, name_is_set=bool(environment.get(NAME)))
    return Telemetry(metrics, tracing, share_of_traces(environment))
