"""Telemetry as the environment says, and what is not loaded where nobody traces."""

import asyncio
import os
import secrets
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision

from auth.message import Route
from messaging.broker import Broker
from messaging.envelope import Envelope
from messaging.errors import UnroutableError
from messaging.metrics import Metrics
from messaging.publisher import Publisher
from messaging.tracing import OFF, step
from services.__main__ import SERVICES
from services.telemetry.opening import open_telemetry, share_of_traces, traces_wanted
from services.telemetry.otlp import FLUSH
from services.telemetry.process import watch_loop
from services.web.observing import _trace_of

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"CARNET_METRICS_PORT": "9464"}, False),
    ],
)
def test_a_collector_that_is_named_turns_traces_on(
    environment: dict[str, str],
    wanted: bool,  # noqa: FBT001 - a row of the table
) -> None:
    assert traces_wanted(environment) is wanted


async def test_without_a_collector_nobody_traces() -> None:
    telemetry = open_telemetry("orders", {})

    assert telemetry.tracing is OFF
    assert telemetry.share is None


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_TRACES_SAMPLER": "parentbased_always_off"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
        {"OTEL_TRACES_SAMPLER": "ParentBased_TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0.7"},
        {"OTEL_TRACES_SAMPLER": "traceidratio"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
        {"OTEL_TRACES_SAMPLER": "made up", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
    ],
    ids=lambda environment: " ".join(environment.values()),
)
def test_the_share_of_traces_is_what_the_librarys_sampler_chooses(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """The page goes by it, trace for trace."""
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sampler = TracerProvider(shutdown_on_exit=False).sampler
    share = share_of_traces(environment)

    for each in (*(secrets.randbits(128) for _ in range(1000)), 0, (1 << 128) - 1):
        chosen = sampler.should_sample(None, each, "click").decision is not Decision.DROP
        assert chosen is (each & ((1 << 64) - 1) < round(share * 2**64))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_traces_nothing_loads_no_sdk_and_no_client_library(service: str) -> None:
    """They are megabytes, and half a second of its start."""
    script = (
        f"import asyncio, sys, services.{service}.__main__\n"
        "from services.telemetry.opening import open_telemetry\n"
        "async def main(): open_telemetry('made up', {})\n"
        "asyncio.run(main())\n"
        "print(*sys.modules)"
    )

    loaded = subprocess.check_output([sys.executable, "-c", script], text=True).split()  # noqa: S603

    unwanted = {"opentelemetry.sdk", "opentelemetry.proto", "prometheus_client", "requests"}
    assert unwanted.isdisjoint(loaded)
    assert "services.telemetry.opening" in loaded


def test_a_step_that_nobody_is_told_of_lets_errors_through() -> None:
    with pytest.raises(ConnectionError), step(OFF, "made up"):
        raise ConnectionError


@pytest.mark.parametrize(
    ("headers", "parent"),
    [
        ([(b"traceparent", PARENT)], True),
        ([(b"traceparent", PARENT), (b"tracestate", b"a=1")], True),
        ([], False),
        ([(b"traceparent", PARENT), (b"traceparent", PARENT)], False),
        ([(b"traceparent", PARENT[:-1])], False),
        ([(b"traceparent", b"\xff" * 55)], False),
    ],
    ids=["one", "with a state", "none", "two", "cut off", "no text"],
)
def test_a_request_belongs_to_the_one_trace_that_it_names(
    headers: list[tuple[bytes, bytes]],
    parent: bool,  # noqa: FBT001 - a row of the table
) -> None:
    found = _trace_of(headers)

    assert found.get("traceparent") == (PARENT.decode() if parent else None)


async def test_a_loop_that_is_held_up_shows_its_lag() -> None:
    metrics = Metrics()
    watch_loop(metrics)
    (family,) = metrics.families
    lag = family.of()

    async with asyncio.timeout(10):
        while not lag.count:
            time.sleep(0.6)  # noqa: ASYNC251 - what is measured: nothing else runs meanwhile
            await asyncio.sleep(0)

    assert lag.sum >= 0.05


async def test_a_message_that_was_not_published_is_counted_by_its_reason(amqp_url: str) -> None:
    broker = await Broker(amqp_url, name="test").start(30)
    publisher = Publisher(broker, client_id="test")
    try:
        with pytest.raises(UnroutableError):
            await publisher.publish(Envelope(Route("", "nowhere", "made.up.v1"), b"{}"), deadline=5)
    finally:
        await broker.close(10)

    (published,) = (
        family
        for family in broker.telemetry.metrics.families
        if family.name == "carnet_published_total"
    )
    told = {labels: series.value for labels, series in published.series.items()}
    assert told == {("confirmed",): 0, ("unroutable",): 1}


TRACED_AND_ENDED = """
import asyncio, os
from messaging.tracing import step
from services.telemetry.opening import open_telemetry

async def main():
    with step(open_telemetry("made up", os.environ).tracing, "made up"):
        pass

asyncio.run(main())
print("ended", flush=True)
"""


async def test_a_collector_that_never_answers_holds_up_no_end() -> None:
    """Left to itself, the library would try for half a minute, as long as containers are given."""
    taken: list[asyncio.StreamWriter] = []

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TRACED_AND_ENDED),
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ended\n"
    async with asyncio.timeout(3 * FLUSH):
        assert await process.wait() == 0
    assert taken
    for writer in taken:
        writer.close()
    server.close()
