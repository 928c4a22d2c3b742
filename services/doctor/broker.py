"""The broker as a whole: what is on it, what waits there, and whether the feed comes through."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
from yarl import URL

from messaging.broker import Broker
from messaging.definitions import examine_definitions
from messaging.findings import Finding, fail, ok, skip, warn
from messaging.inspection import QueueCount, count_queues, examine_topology, left_shards
from messaging.topology import Topology, WorkQueue
from services.doctor.report import Report
from services.operations.verdicts import PLACES

WITHIN: Final = 5.0
"""Seconds for each answer."""

LOOK_WITHIN: Final = 30.0
"""Seconds for a look at everything on the broker."""


async def examine_broker(
    report: Report,
    broker: Broker,
    topology: Topology,
    *,
    works: Sequence[WorkQueue],
    management: str | None,
) -> None:
    """Compare what is on the connected broker with `topology`, and tell what waits in its queues.

    works: the order consumer's, and those of services of one's own.
    management: URL of the management API, http://operator:password@host:15672, where there is one.
    """
    with report.part("topology"):
        report.add(*await examine_topology(broker, topology, deadline=LOOK_WITHIN))
    if management is None:
        report.add(
            skip("bindings", "only the broker's management API tells: CARNET_MANAGEMENT_URL")
        )
    else:
        report.add(*await _examine_definitions(management, broker.vhost, topology))
    with report.part("queues"):
        names = [queue.name for queue in topology.queues]
        counts = await count_queues(broker, names, deadline=LOOK_WITHIN)
        report.add(*judge_counts(counts, works))
        for work in works:
            if work.name in counts:
                left = await left_shards(broker, work, deadline=LOOK_WITHIN)
                report.add(*(_judge_left(name, count) for name, count in left.items()))


def judge_counts(counts: Mapping[str, QueueCount], works: Sequence[WorkQueue]) -> list[Finding]:
    """What waits where, and where nobody works."""
    aside = {name for work in works for name in (work.dead, *(each.name for each in work.retries))}
    worked = [_judge_worked(name, count) for name, count in counts.items() if name not in aside]
    return worked + [finding for work in works for finding in _judge_aside(work, counts)]


def _judge_left(name: str, count: QueueCount) -> Finding:
    """A shard that is none any more."""
    said = f"{name} is no shard any more: {count.messages} wait, {count.consumers} consume"
    if count.messages:
        return warn("queues", f"{said}; let it run empty, then delete it")
    return warn("queues", f"{said}; delete it, the highest number first")


def _judge_worked(name: str, count: QueueCount) -> Finding:
    said = f"{name}: {count.messages} wait, {count.consumers} consume"
    if not count.consumers:
        return warn("queues", f"{said}; is its service running and ready?")
    return ok("queues", said)


def _judge_aside(work: WorkQueue, counts: Mapping[str, QueueCount]) -> list[Finding]:
    findings = []
    retries = [counts[retry.name] for retry in work.retries if retry.name in counts]
    if retries:
        waiting = sum(count.messages for count in retries)
        findings.append(ok("retries", f"{work.name}: {waiting} wait for another try"))
    if work.dead in counts:
        dead = counts[work.dead].messages
        said = f"{work.dead}: {dead} wait"
        findings.append(
            warn("dead letters", f"{said}; {_how_to_look(work)}")
            if dead
            else ok("dead letters", said)
        )
    return findings


def _how_to_look(work: WorkQueue) -> str:
    if work.name in PLACES:
        return "look at them: carnet dead-letters list"
    return "the service's log says why: command_dead_lettered"


async def _examine_definitions(management: str, vhost: str, topology: Topology) -> list[Finding]:
    url = URL(management)
    login = None if url.user is None else (url.user, url.password or "")
    place = f"{url.host}:{url.port}"
    path = url.with_user(None).with_query(None).joinpath("api", "definitions", vhost)
    try:
        async with httpx.AsyncClient(timeout=WITHIN, trust_env=False, auth=login) as client:
            answer = await client.get(str(path))
            answer.raise_for_status()
            definitions: Mapping[str, Any] = answer.json()
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        said = f"the management API at {place} answers {code}; give it an administrator's login"
        return [fail("bindings", said)]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return [fail("bindings", f"no management API answers at {place} ({type(error).__name__})")]
    return examine_definitions(definitions, topology)
