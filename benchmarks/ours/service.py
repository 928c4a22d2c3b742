"""What Carnet's own programs under measurement have in common: trust, database, the clock."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from auth.message import VerifiedMessage
from auth.revocation import RevocationList
from auth.trust import FixedTrust
from auth.verifier import Verifier
from benchmarks.contender import PREFETCH, Job, Meter, wait_for_go
from benchmarks.letters import Keys
from messaging.broker import Broker
from messaging.consumer import CommandConsumer
from messaging.consumer_parts import ConsumerParts, RefusalHook
from messaging.database import open_database
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.signatures import CheckedHere, CheckingProcess
from messaging.telemetry import Telemetry
from services import orders
from services.contracts.topology import ORDER_SERVICE
from services.logs import configure_logging
from services.orders.tables import MESSAGING
from services.orders.work import OrderWork
from services.runtime import collect_rarely
from services.telemetry.opening import open_telemetry

PATIENCE: Final = 60.0
MIGRATIONS: Final = Path(orders.__file__).with_name("migrations")
LOOK: Final = 0.005
"""Seconds within which the last message is noticed to be done."""


class SpoiltError(Exception):
    """Something was refused or tried again: the figure would say nothing."""


def fixed_trust(job: Job) -> FixedTrust:
    """Trust in the keys of the job, with as many live revocations as it says."""
    revocations, now = RevocationList(), int(time.time())
    for number in range(job.options.get("revocations", 0)):
        revocations.revoke_session(f"revoked-session-{number:08}", until=now + 90_000)
    keys = Keys(Path(job.options["state"]), job.options["statement"])
    return FixedTrust(keys.key_set(), revocations)


def fixed_verifier(job: Job) -> Verifier:
    return Verifier(fixed_trust(job), audience=ORDER_SERVICE)


def telemetry_of(job: Job) -> Telemetry:
    """As the service has it; where the job says so, so many of its traces are told of."""
    endpoint = job.options.get("otlp", "")
    os.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": job.options.get("sampled", "1"),
    }
    return open_telemetry(ORDER_SERVICE, os.environ)


async def tell_nobody(_refusal: Any, message: VerifiedMessage, _work: Any) -> None:
    """No message of ours is refused: that it is, spoils the run."""
    raise SpoiltError(message.seal.jti)


async def parts_of(
    job: Job,
    broker: Broker,
    *,
    committed: Callable[[], None],
    on_refused: RefusalHook = tell_nobody,
) -> ConsumerParts:
    """A consumer's parts as the order service has them, on an empty database, up to date."""
    url = job.options["database"]
    await upgrade(url, MIGRATIONS)
    return ConsumerParts(
        broker=broker,
        publisher=Publisher(broker, client_id=ORDER_SERVICE),
        verifier=fixed_verifier(job),
        database=open_database(url),
        tables=MESSAGING,
        unit_of_work=OrderWork,
        on_refused=on_refused,
        committed=committed,
        clock=time.time,
        service=ORDER_SERVICE,
        prefetch=PREFETCH,
        signatures=CheckedHere() if job.options.get("alone") else CheckingProcess(),
    )


async def consume(
    job: Job, consumer: CommandConsumer, parts: ConsumerParts, woken: asyncio.Event
) -> None:
    """Run a consumer over the job's messages, from asking for them to the last one committed.

    The clock starts later where the job says so: once as many as `before` are committed.
    """
    meter, stopped, shutdown = Meter(job.count), asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    wait_for_go()
    async with asyncio.TaskGroup() as running:
        if isinstance(parts.signatures, CheckingProcess):
            running.create_task(parts.signatures.run(shutdown))
        meter.begin()
        running.create_task(consumer.run(parts, shutdown))
        if before := job.options.get("before", 0):
            await _until_done(consumer.counts, Meter(before), before, woken, stopped)
            meter.begin()
        already = consumer.counts["done"]
        await _until_done(consumer.counts, meter, job.count, woken, stopped)
        meter.handled -= already
        meter.report()  # while the process beside it runs, which is counted too
        shutdown.set()


async def _until_done(
    counts: Counter[str], meter: Meter, count: int, woken: asyncio.Event, stopped: asyncio.Event
) -> None:
    while not stopped.is_set() and not (count and meter.handled >= count):
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await woken.wait()
        woken.clear()
        if counts["done"] != meter.handled:
            meter.handled = counts["done"]
            meter.stop()
        if counts.total() != counts["done"]:
            raise SpoiltError(str(counts))
    meter.count_processor_time()


def quiet() -> None:
    """As a service starts: what is imported is kept, and nothing is wrong that would be logged."""
    collect_rarely()
    configure_logging(service=ORDER_SERVICE, log_format="json", level="warning")
