"""What is on a broker, as it writes it down itself (`GET /api/definitions/{vhost}`).

The only way to look at bindings and policies without changing anything.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from messaging.findings import Finding, fail, ok, warn
from messaging.topology import MATCH, REMEDY, Binding, Topology

CHECK: Final = "bindings"

Definitions = Mapping[str, Any]


def examine_definitions(definitions: Definitions, topology: Topology) -> list[Finding]:
    """Compare exchanges, queues, bindings and policies with what they must be."""
    wrong = [
        *(fail("topology", line) for line in _exchanges(definitions, topology)),
        *(fail("topology", line) for line in _queues(definitions, topology)),
        *(fail(CHECK, line) for line in _bindings(definitions, topology)),
        *(warn("policies", line) for line in _policies(definitions)),
    ]
    return wrong or [
        ok(
            CHECK,
            f"all {len(topology.bindings)} bindings are there, and no policy changes a queue",
        )
    ]


def _exchanges(definitions: Definitions, topology: Topology) -> Iterator[str]:
    found = {each["name"]: each for each in definitions["exchanges"]}
    for exchange in topology.exchanges:
        there = found.get(exchange.name)
        if there is None:
            yield f"exchange {exchange.name} is not there; start its service"
        elif (there["type"], there["durable"]) != (exchange.kind, True):
            yield (
                f"exchange {exchange.name} is declared otherwise: it must be a durable "
                f"{exchange.kind} exchange; {REMEDY['exchange']}"
            )
        elif there["arguments"] != exchange.arguments:
            yield (
                f"exchange {exchange.name} is declared otherwise: its arguments must be "
                f"{exchange.arguments}; {REMEDY['exchange']}"
            )


def _queues(definitions: Definitions, topology: Topology) -> Iterator[str]:
    found = {each["name"]: each["arguments"] for each in definitions["queues"] if each["durable"]}
    for queue in topology.queues:
        there = found.get(queue.name)
        if there is None:
            yield f"durable queue {queue.name} is not there; start its service"
            continue
        for argument in sorted(there.keys() | queue.arguments.keys()):
            has, must = there.get(argument), queue.arguments.get(argument)
            if has != must:
                yield (
                    f"queue {queue.name} is declared otherwise: {argument} is "
                    f"{'missing' if has is None else has} and must "
                    f"{'not be there' if must is None else f'be {must}'}; {REMEDY['queue']}"
                )


def _bindings(definitions: Definitions, topology: Topology) -> Iterator[str]:
    found = [
        Binding(
            each["destination"],
            each["source"],
            each["routing_key"],
            each["destination_type"],
            {name: value for name, value in each["arguments"].items() if name != MATCH},
        )
        for each in definitions["bindings"]
    ]
    for binding in topology.bindings:
        if binding not in found:
            yield (
                f"{_bound(binding, 'is not')}, so what is sent there is lost or refused; start its "
                "service with a login that may bind, or import the definitions"
            )
    for binding in topology.gone:
        if binding in found:
            yield (
                f"{_bound(binding, 'is still')}, as with another number of shards: what is sent "
                "there arrives twice or in an old queue; run: carnet shards"
            )


def _bound(binding: Binding, state: str) -> str:
    under = binding.routing_key or ", ".join(f"{k}={v}" for k, v in binding.headers.items())
    return f"{binding.kind} {binding.destination} {state} bound to {binding.exchange} under {under}"


def _policies(definitions: Definitions) -> Iterator[str]:
    """All are told: which queues a pattern fits, and whether it matters, is for people to see."""
    for policy in definitions["policies"]:
        if policy.get("apply-to") != "exchanges":
            sets = ", ".join(f"{name}={value}" for name, value in policy["definition"].items())
            yield (
                f"policy {policy['name']} changes queues that match {policy['pattern']}: {sets}; "
                "what limits, expires or drops messages loses some"
            )
