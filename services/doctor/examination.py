"""Who is examined: the local stack in a state folder, or one service by its environment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from auth.feed import Feed
from messaging.broker import Broker
from messaging.findings import fail, warn
from messaging.topology import Topology, WorkQueue
from services.contracts.topology import ORDER_SERVICE, orders_commands, whole_topology
from services.declared import (
    DECLARED,
    Declared,
    DeclaredService,
    read_all_declared,
    topology_with,
)
from services.doctor.broker import examine_broker
from services.doctor.feed import examine_feed
from services.doctor.kinds import KINDS, Kind
from services.doctor.report import Report
from services.doctor.service import WITHIN, connected, examine_service, newest_key_set
from services.errors import SettingsError, StartError
from services.identity import load_identity, load_trust_root
from services.local.logins import OPERATOR
from services.local.running import told
from services.local.service import Service
from services.settings import PREFIX, ServiceSettings, read_settings

Clock = Callable[[], float]

STOPPED: Final = "amqp://127.0.0.1/"
"""Stands where there is no broker, which then is not asked."""


async def examine_one(
    kind: Kind, *, operator: str | None, management: str | None, clock: Clock
) -> list[Report]:
    """The service that the environment sets up, and the broker as it sees it.

    operator: URL of a login that may see, and compare, everything on the broker.
    management: URL of the broker's management API.
    """
    try:
        settings = read_settings(kind.settings)
    except SettingsError as error:
        return [Report(kind.name, [fail("settings", str(error))])]
    if operator is None:
        opening, there = _logged_in(kind, settings, clock), _There.of(kind, settings)
    else:
        declared = read_all_declared(settings.services)
        opening, there = _opened(operator), _There.whole(settings, declared)
    whole = _examine_whole(
        opening, there, kind=kind, settings=settings, management=management, clock=clock
    )
    service = examine_service(kind, settings, clock=clock, runs=None)
    return list(await asyncio.gather(service, whole))


async def examine_stack(
    state: Path, *, passphrase: str | None, management: str | None, clock: Clock
) -> list[Report]:
    """All services of a local stack, each with what it was told, and its broker.

    Raises:
        StartError: the folder is none of a stack's, or a service is declared wrongly there.
    """
    if not (state / "keys").is_dir():
        raise StartError(
            f"{state}: no stack has run in this folder; start one with: carnet up, or set "
            "CARNET_STATE, or name a service that the environment sets up: carnet doctor orders"
        )
    operator = told(state, OPERATOR)
    services = [(kind, _settings_in(state, kind, passphrase)) for kind in KINDS.values()]
    declared = read_all_declared(state / DECLARED)
    examinations = [
        examine_service(kind, settings, clock=clock, runs=operator is not None)
        for kind, settings in services
    ]
    examinations += [
        _examine_own(state, each, passphrase, stack_runs=operator is not None, clock=clock)
        for each in declared
    ]
    if operator is None:
        stopped = warn("broker", "the stack does not run, so no broker was asked; run: carnet up")
        return [*await asyncio.gather(*examinations), Report("broker", [stopped])]
    kind, settings = next(each for each in services if each[0].name == "orders")
    known = tuple(each for each in declared if told(state, each.client) is not None)
    whole = _examine_whole(
        _opened(operator[f"{PREFIX}AMQP_URL"]),
        _There.whole(settings, known),
        kind=kind,
        settings=settings,
        management=management,
        clock=clock,
    )
    return list(await asyncio.gather(*examinations, whole))


async def _examine_own(
    state: Path,
    declared: DeclaredService,
    passphrase: str | None,
    *,
    stack_runs: bool,
    clock: Clock,
) -> Report:
    """One of one's own, which the stack knows, and somebody else starts."""
    kind = Kind.own(declared)
    settings = _settings_in(state, kind, passphrase)
    known = told(state, kind.name) is not None
    report = await examine_service(kind, settings, clock=clock, runs=None if known else False)
    if stack_runs and not known:
        said = "the running stack does not know it yet, so there is no login; restart carnet up"
        report.add(warn("broker", said))
    return report


def _settings_in(state: Path, kind: Kind, passphrase: str | None) -> ServiceSettings:
    """What the running service was told, or what it would be."""
    environment = told(state, kind.name)
    if environment is None:
        service = Service(kind.name, state.resolve(), "127.0.0.1", 1)
        environment = service.environment(STOPPED, None)
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    if passphrase is not None:
        values["key_passphrase"] = passphrase
    known = {name: value for name, value in values.items() if name in kind.settings.model_fields}
    return kind.settings.model_validate(known)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Broker]:
    """With a login of its own, an operator's."""
    broker = Broker(url, name="doctor")
    try:
        yield await broker.start(WITHIN)
    finally:
        await broker.close(WITHIN)


@asynccontextmanager
async def _logged_in(kind: Kind, settings: ServiceSettings, clock: Clock) -> AsyncIterator[Broker]:
    """As the service itself."""
    key_set = newest_key_set(settings, now=clock())
    identity = load_identity(kind.client_id, settings, key_set)
    async with connected(settings, kind.client_id, identity) as broker:
        yield broker


@dataclass(frozen=True, slots=True)
class _There:
    """What must be on the broker, as far as whoever looks may see it; and which of it is work."""

    topology: Topology
    works: tuple[WorkQueue, ...]

    @classmethod
    def of(cls, kind: Kind, settings: ServiceSettings) -> Self:
        """One service's own."""
        works: tuple[WorkQueue, ...] = ()
        if kind.declared is not None:
            works = (kind.declared.queue,)
        elif kind.client_id == ORDER_SERVICE:
            works = (orders_commands(settings.orders_shards),)
        return cls(kind.topology(settings.orders_shards), works)

    @classmethod
    def whole(cls, settings: ServiceSettings, declared: Declared) -> Self:
        """The whole system's, these services' too."""
        shards = settings.orders_shards
        return cls(
            topology_with(whole_topology(shards), declared),
            (orders_commands(shards), *(each.queue for each in declared)),
        )


async def _examine_whole(
    opening: AbstractAsyncContextManager[Broker],
    there: _There,
    *,
    kind: Kind,
    settings: ServiceSettings,
    management: str | None,
    clock: Clock,
) -> Report:
    report = Report("broker")
    with report.part("broker"):
        async with opening as broker:
            await examine_broker(
                report, broker, there.topology, works=there.works, management=management
            )
            with report.part("feed"):
                key_set = newest_key_set(settings, now=clock())
                feed = Feed(load_trust_root(settings), key_set)
                report.add(await examine_feed(broker, kind.client_id, feed, clock=clock))
    return report
