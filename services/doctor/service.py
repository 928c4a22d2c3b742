"""One service examined with its own settings, keys and logins, as it would start with them."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from auth.keyset import KeySet
from messaging.broker import Broker
from messaging.broker_clock import examine_clock
from messaging.broker_version import judge_version
from messaging.findings import Finding, fail, ok, warn
from messaging.schema import examine_revision, examine_schema
from services.broker_login import broker_tokens
from services.contracts.topology import USER_SERVICE
from services.doctor.issuer import examine_issuer_key
from services.doctor.kinds import Kind
from services.doctor.listing import examine_listing
from services.doctor.report import Report
from services.identity import Identity, load_identity, load_key_set, load_trust_root
from services.settings import ServiceSettings
from services.startup import (
    examine_key_folder,
    examine_seal_key,
    examine_settings,
    examine_statement,
)
from services.trust import KeptKeySet

WITHIN: Final = 5.0
"""Seconds for each answer: of the broker, of the service."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound, looked up


async def examine_service(
    kind: Kind,
    settings: ServiceSettings,
    *,
    clock: Callable[[], float],
    runs: bool | None,
) -> Report:
    """All that can be found out with what this service has. Changes nothing.

    runs: whether it should be running; where that is False its broker is not asked, and where it
        is None nobody knows.
    """
    report = Report(kind.name)
    with report.part("settings"):
        report.add(*examine_settings(settings))
    key_set, identity = _examine_trust(report, kind, settings, now=clock())
    with report.part("database"):
        report.add(await _examine_database(kind, settings))
    if kind.client_id == USER_SERVICE and key_set is not None:
        with report.part("issuer key"):
            report.add(await examine_issuer_key(settings, key_set, now=clock()))
    if runs is not False:
        with report.part("broker"):
            async with connected(settings, kind.client_id, identity) as broker:
                report.add(judge_version(broker.consuming.server))
                report.add(await examine_clock(broker, client_id=kind.client_id, clock=clock))
        report.add(await _examine_health(settings, expected=runs is True))
    return report


def newest_key_set(settings: ServiceSettings, *, now: float) -> KeySet:
    """The given statement, or the newer one that the service has kept.

    Raises:
        StartError, KeySetError: neither can be read or believed.
    """
    given, root = load_key_set(settings, now=now), load_trust_root(settings)
    return KeptKeySet(settings.trust_state).newest(given, root, now=now)


@asynccontextmanager
async def connected(
    settings: ServiceSettings, client_id: str, identity: Identity | None
) -> AsyncIterator[Broker]:
    """The broker, logged in as the service does.

    Raises:
        BrokerError, SettingsError: it cannot be, and why.
    """
    broker = Broker(settings.amqp_url.get_secret_value(), name=f"{client_id} doctor")
    if client_id == USER_SERVICE and settings.broker_token_url is None:
        # It signs its own; we, who are not it, ask it as others do.
        asked = {"broker_token_url": f"http://{_place(settings)}/oauth/token"}
        settings = settings.model_copy(update=asked)
    tokens = None if identity is None else broker_tokens(settings, identity.sealer)
    try:
        await broker.start(WITHIN, tokens=tokens)
        yield broker
    finally:
        await broker.close(WITHIN)


def _examine_trust(
    report: Report, kind: Kind, settings: ServiceSettings, *, now: float
) -> tuple[KeySet | None, Identity | None]:
    key_set = identity = None
    with report.part("key set statement"):
        given = load_key_set(settings, now=now)
        key_set = KeptKeySet(settings.trust_state).newest(given, load_trust_root(settings), now=now)
        report.add(examine_statement(key_set, now=now))
    if kind.client_id != USER_SERVICE:  # which keeps it in its database
        report.add(_examine_trust_state(settings.trust_state))
    with report.part("key folder"):
        report.add(examine_key_folder(settings))
    if key_set is not None:
        with report.part("seal key"):
            identity = load_identity(kind.client_id, settings, key_set)
            report.add(examine_seal_key(identity, key_set, now=now))
    if key_set is not None and identity is not None and kind.declared is not None:
        report.add(examine_listing(kind.declared, key_set))
    return key_set, identity


def _examine_trust_state(folder: Path) -> Finding:
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return ok("trust state", f"{folder} can keep the newest statement")
    return fail(
        "trust state",
        f"{there} cannot be written, so the newest statement is not kept: make it the service's "
        "own, or set CARNET_TRUST_STATE",
    )


async def _examine_database(kind: Kind, settings: ServiceSettings) -> Finding:
    url = settings.database_url.get_secret_value()
    if kind.migrations is None:
        return await examine_revision(url)
    return await examine_schema(url, kind.migrations, service=kind.name)


async def _examine_health(settings: ServiceSettings, *, expected: bool) -> Finding:
    place = _place(settings)
    try:
        async with httpx.AsyncClient(timeout=WITHIN, trust_env=False) as client:
            answer = await client.get(f"http://{place}/health/ready")
            checks: dict[str, bool] = answer.json()["checks"]
    except (httpx.TransportError, ValueError, KeyError):
        said = f"nothing of ours answers at {place}; start the service"
        return (fail if expected else warn)("health", said)
    waiting = [name for name, holds in checks.items() if not holds]
    if waiting:
        return fail("health", f"runs and is not ready: {', '.join(waiting)}; its log says why")
    return ok("health", f"ready at {place}")


def _place(settings: ServiceSettings) -> str:
    """Host and port at which the service itself is to be asked."""
    host = _EVERYWHERE.get(settings.host, settings.host)
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
