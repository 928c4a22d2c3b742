"""Wires the user service and runs it: `python -m services.users`, `carnet users`."""

import asyncio
import time
from typing import Final, NoReturn

from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.database import open_database
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.rpc import RpcParts
from messaging.topology import declare
from services.contracts.topology import USER_SERVICE, USERS_TOPOLOGY
from services.http import HttpServer, health_app
from services.identity import load_identity, load_key_set
from services.keyring import ISSUER
from services.runtime import run_service
from services.users.accounts import Accounts
from services.users.app import user_service
from services.users.assertions import Assertions
from services.users.exchange import TokenExchange
from services.users.handlers import Handlers
from services.users.passwords import Passwords
from services.users.pruning import prune
from services.users.sessions import SessionLife, Sessions
from services.users.settings import UserSettings
from services.users.signing import load_issuer
from services.users.store import MIGRATIONS

CONCURRENCY: Final = 100
"""Requests at once: those that wait for their turn at Argon2id must not hold up the others."""


async def serve(settings: UserSettings, shutdown: asyncio.Event) -> None:
    """Run until `shutdown`; then finish what runs, give back the rest, and close.

    Raises:
        StartError, AuthError, MessagingError: it cannot start; each says why in one line.
    """
    clock = time.time
    key_set = load_key_set(settings, now=clock())
    identity = load_identity(USER_SERVICE, settings, key_set)
    issuer = load_issuer(settings.keys / ISSUER, key_set, settings.passphrase)
    trust = FixedTrust(key_set)
    await upgrade(settings.database_url.get_secret_value(), MIGRATIONS)
    database = open_database(settings.database_url.get_secret_value())
    sessions = Sessions(database, clock, SessionLife(settings.session_life, settings.session_idle))
    assertions = Assertions(trust, database, clock)
    passwords = Passwords()
    await passwords.warm_up()
    service = user_service(
        Handlers(
            trust=trust,
            issuer=issuer,
            accounts=Accounts(database, passwords, clock),
            sessions=sessions,
            exchange=TokenExchange(trust, issuer, sessions, clock),
            assertions=assertions,
            clock=clock,
        )
    )
    broker = Broker(settings.amqp_url.get_secret_value(), name=USER_SERVICE)
    health = HttpServer(
        health_app({"requests": lambda: service.ready}),
        host=settings.host,
        port=settings.port,
        drain=settings.shutdown_deadline,
    )
    try:
        await broker.start(settings.start_deadline)
        await declare(broker, USERS_TOPOLOGY, deadline=settings.start_deadline)
        parts = RpcParts(
            broker=broker,
            publisher=Publisher(broker, client_id=USER_SERVICE),
            sealer=identity.sealer,
            verifier=Verifier(trust, audience=USER_SERVICE),
            trust=trust,
            decryption=identity.decryption,
            clock=clock,
            concurrency=CONCURRENCY,
            drain=settings.shutdown_deadline,
        )
        await health.start()
        async with asyncio.TaskGroup() as running:
            running.create_task(service.run(parts, shutdown), name="requests")
            running.create_task(prune(sessions, assertions, shutdown), name="pruning")
    finally:
        await health.stop()
        await broker.close(settings.shutdown_deadline)
        await database.close()


def main() -> NoReturn:
    """Run the user service until SIGTERM or SIGINT."""
    run_service(USER_SERVICE, UserSettings, serve)


if __name__ == "__main__":
    main()
