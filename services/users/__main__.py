"""Wires the user service and runs it: `python -m services users`, `carnet users`."""

import asyncio
import os
import time
from typing import Final, NoReturn

from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.database import Database, open_database
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.rpc import RpcParts
from messaging.telemetry import Telemetry
from services.contracts.topology import USER_SERVICE, USERS_TOPOLOGY
from services.declared import read_all_declared, rights_with, roles_with
from services.http import HttpServer, health_app
from services.identity import load_identity, load_trust_root
from services.keyring import ISSUER
from services.runtime import run_service
from services.startup import require_broker, require_standing
from services.telemetry.opening import open_telemetry
from services.users.app import user_service
from services.users.assembly import make_administration, make_handlers, open_register
from services.users.attempts import Limits
from services.users.broker_tokens import BrokerTokens
from services.users.handlers import Handlers
from services.users.heralding import Heralding
from services.users.keyfolder import KeyFolder
from services.users.leadership import leadership
from services.users.passwords import Passwords
from services.users.pruning import prune
from services.users.rotation import Rotation
from services.users.session_life import SessionLife
from services.users.settings import UserSettings
from services.users.signing import IssuerKeys
from services.users.store import MIGRATIONS
from services.users.token_endpoint import token_route
from services.users.trust import IssuerTrust

CONCURRENCY: Final = 100
"""Requests at once."""

PASSWORDS: Final = 60
"""Of these, so many may wait for their turn at Argon2id: the rest is for the others."""


async def serve(settings: UserSettings, shutdown: asyncio.Event) -> None:
    """Run until `shutdown`; then finish what runs, give back the rest, and close.

    Raises:
        StartError, AuthError, MessagingError: it cannot start; each says why in one line.
    """
    url = settings.database_url.get_secret_value()
    root = load_trust_root(settings)
    folder = KeyFolder(settings.keys / ISSUER, settings.passphrase)
    await upgrade(url, MIGRATIONS)
    telemetry = open_telemetry(USER_SERVICE, os.environ)
    database = open_database(url)
    database.watch(telemetry.metrics)
    try:
        trust = IssuerTrust(root, settings.key_set, database, clock=time.time)
        await trust.start()
        await _serve(settings, database, trust, folder, shutdown, telemetry=telemetry)
    finally:
        await database.close()


async def _serve(
    settings: UserSettings,
    database: Database,
    trust: IssuerTrust,
    folder: KeyFolder,
    shutdown: asyncio.Event,
    *,
    telemetry: Telemetry,
) -> None:
    clock = time.time
    identity = load_identity(USER_SERVICE, settings, trust.key_set)
    identity.sealer.follow(trust)
    require_standing(settings, identity, trust.key_set, now=clock())
    passwords = Passwords(most=PASSWORDS)
    register = open_register(
        database,
        passwords,
        clock=clock,
        life=SessionLife(settings.session_life, settings.session_idle),
        limits=Limits(settings.lockout, settings.registrations_per_origin),
        roles=roles_with(read_all_declared(settings.services)),
    )
    keys = IssuerKeys(folder, trust, database, clock=clock)
    rotation = Rotation(
        keys, trust, register.acts, database, life=settings.issuer_key_life, clock=clock
    )
    await keys.begin()
    await rotation.rotate_if_due()
    await keys.require()
    await passwords.warm_up()
    handlers = make_handlers(register, trust, keys, trust.root)
    service = user_service(handlers, make_administration(register, handlers.presented, rotation))
    broker = Broker(settings.amqp_url.get_secret_value(), name=USER_SERVICE, telemetry=telemetry)
    tokens = _broker_tokens(settings, handlers, broker)
    publisher = Publisher(broker, client_id=USER_SERVICE)
    heralding = Heralding(
        statements=handlers.statements,
        revocations=register.revocations,
        trust=trust,
        publisher=publisher,
        leadership=leadership(database),
    )
    health = HttpServer(
        health_app(
            {
                "requests": lambda: service.ready,
                "signing": lambda: keys.ready,
                "feed": lambda: heralding.ready,
            },
            metrics=telemetry.metrics,
            routes=[] if tokens is None else [token_route(tokens)],
        ),
        host=settings.host,
        port=settings.port,
        drain=settings.shutdown_deadline,
    )
    forget = [
        register.sessions.prune,
        register.acts.prune,
        register.attempts.prune,
        register.revocations.prune,
        handlers.assertions.prune,
        handlers.codes.prune,
        handlers.devices.prune,
    ]
    try:
        # First, since others need tokens to get onto the broker as well.
        await health.start()
        await broker.start(settings.start_deadline, tokens=None if tokens is None else tokens.own)
        await require_broker(
            broker,
            USERS_TOPOLOGY,
            client_id=USER_SERVICE,
            clock=clock,
            deadline=settings.start_deadline,
        )
        parts = RpcParts(
            broker=broker,
            publisher=publisher,
            sealer=identity.sealer,
            verifier=Verifier(trust, audience=USER_SERVICE),
            trust=trust,
            decryption=identity.decryption,
            clock=clock,
            concurrency=CONCURRENCY,
            drain=settings.shutdown_deadline,
        )
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as running:
            running.create_task(trust.run(drained), name="key set")
            running.create_task(rotation.run(drained), name="rotation")
            running.create_task(heralding.run(drained), name="trust feed")
            running.create_task(prune(forget, drained), name="pruning")
            # What the last requests revoke is still told.
            await service.run(parts, shutdown)
            drained.set()
    finally:
        await health.stop()
        await broker.close(settings.shutdown_deadline)


def _broker_tokens(
    settings: UserSettings, handlers: Handlers, broker: Broker
) -> BrokerTokens | None:
    if settings.broker_login == "password":
        return None
    return BrokerTokens(
        trust=handlers.trust,
        keys=handlers.keys,
        acts=handlers.acts,
        assertions=handlers.assertions,
        resource=settings.broker_resource,
        vhost=broker.vhost,
        rights=rights_with(read_all_declared(settings.services)),
        clock=handlers.clock,
    )


def main() -> NoReturn:
    """Run the user service until SIGTERM or SIGINT."""
    run_service(USER_SERVICE, UserSettings, serve)


if __name__ == "__main__":
    main()
