"""What must be in order before a service does anything; `carnet doctor` asks the same.

What a service cannot work with ends it, in one line that says what to do; what is only doubtful
is logged.
"""

import stat
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import structlog

from auth.keyset import KeySet
from messaging.broker import Broker
from messaging.broker_clock import examine_clock
from messaging.broker_version import judge_version
from messaging.findings import Finding, Verdict, fail, ok, warn
from messaging.topology import Topology, declare
from services.authority import ALARM
from services.errors import StartCheckError
from services.identity import Identity
from services.settings import ProcessSettings

_DAY: Final = 24 * 3600

log = structlog.get_logger(__name__)


def require(findings: Iterable[Finding]) -> None:
    """Log what is doubtful, and end the start at what is wrong.

    Raises:
        StartCheckError: the first finding that is in the way.
    """
    for finding in findings:
        if finding.verdict is Verdict.FAIL:
            raise StartCheckError(finding.detail)
        if finding.verdict is Verdict.WARN:
            log.warning("start_doubtful", check=finding.check, detail=finding.detail)


async def require_broker(
    broker: Broker,
    topology: Topology,
    *,
    client_id: str,
    clock: Callable[[], float],
    deadline: float,
) -> None:
    """Make sure that the connected broker is one to work with, and has what we need.

    Raises:
        StartCheckError: its version is too old, or its clock too far from ours.
        TopologyError: something there is declared otherwise, or is missing and not ours to make.
        BrokerUnavailableError: the connection broke, or `deadline` (seconds) passed.
    """
    require([judge_version(broker.consuming.server)])
    await declare(broker, topology, deadline=deadline)
    require([await examine_clock(broker, client_id=client_id, clock=clock)])


def require_standing(
    settings: ProcessSettings, identity: Identity, key_set: KeySet, *, now: float
) -> None:
    """Make sure of what needs neither broker nor database, once keys and statement are read.

    Raises:
        StartCheckError: nobody would believe what the service seals.
    """
    require(
        [
            *examine_settings(settings),
            examine_key_folder(settings),
            examine_seal_key(identity, key_set, now=now),
            examine_statement(key_set, now=now),
        ]
    )


def examine_settings(settings: ProcessSettings) -> list[Finding]:
    """What the settings say that can hardly be meant."""
    doubts = [warn("settings", doubt) for doubt in settings.doubts()]
    return doubts or [ok("settings", "complete, and they fit together")]


def examine_key_folder(settings: ProcessSettings) -> Finding:
    """Whether somebody else could put keys of theirs into the folder.

    Each file's own mode is judged when it is read.
    """
    mode = stat.S_IMODE(settings.keys.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return warn(
            "key folder",
            f"{settings.keys}: others may write to it (mode {mode:04o}); "
            f"run: chmod go-w {settings.keys}",
        )
    return ok("key folder", f"{settings.keys} is closed to others")


def examine_seal_key(identity: Identity, key_set: KeySet, *, now: float) -> Finding:
    """Whether what the service seals from now on will be believed."""
    name, kid = identity.client_id, identity.sealer.signing_key().kid
    listed = key_set.clients[name].keys.get(kid)
    remedy = (
        f"put its active key into the folder; see: carnet trust show, carnet trust rotate {name}"
    )
    if listed is None or not listed.signed_in_time(int(now)):
        state = "not listed" if listed is None else f"retired since {_when(listed.retired_at)}"
        return fail("seal key", f"{name} would seal with {kid}, which is {state}; {remedy}")
    if listed.state == "retired":
        until = _when(listed.retired_at)
        return warn("seal key", f"{name} may seal with {kid} only until {until}; {remedy}")
    if listed.state == "next":
        return warn(
            "seal key",
            f"{name} seals with {kid}, which is only to come; once every party has the statement: "
            f"carnet trust rotate {name}",
        )
    return ok("seal key", f"{kid} is the active one of {name}")


def examine_statement(key_set: KeySet, *, now: float) -> Finding:
    """Whether the key set statement is still believed for a good while."""
    days = (key_set.expires_at - now) / _DAY
    said = f"version {key_set.version}, believed for another {days:.0f} days"
    if key_set.expires_at - ALARM < now:
        return warn("key set statement", f"{said}; then everything stops: carnet trust sign")
    return ok("key set statement", said)


def _when(seconds: int | None) -> str:
    return f"{datetime.fromtimestamp(seconds or 0, UTC):%Y-%m-%d %H:%M:%S} UTC"
