"""The trust feed when the broker or the database is away: it waits, and then tells all."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractQueue
from sqlalchemy import text
from structlog.testing import capture_logs

from auth.jws import KEY_SET, parse_claims
from auth.statements import HEARTBEAT, REVOCATION, HeartbeatClaims, RevocationClaims
from auth.strict import parse_token
from messaging.broker import Broker
from messaging.database import open_database
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.topology import TRUST
from services.users.heralding import Heralding
from services.users.leadership import leadership
from services.users.store import MIGRATIONS
from services.users.trust import IssuerTrust
from tests.messaging.raw import until
from tests.services.users.realm import Realm, Users, open_users

DEADLINE = 30.0


@dataclass
class Herald:
    """The user service's telling part alone, and what is heard of it."""

    users: Users
    broker: Broker
    heralding: Heralding
    heard: AbstractQueue

    async def hears(self, typ: str) -> str:
        """The next statement of a kind."""
        return (await self.hears_each({typ}))[typ]

    async def hears_each(self, types: set[str]) -> dict[str, str]:
        """The last statement of each kind, once there is one of each."""
        heard: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE), self.heard.iterator(no_ack=True) as messages:
            while not types <= heard.keys():
                message = await anext(messages)
                heard[message.type or ""] = message.body.decode()
        return heard

    async def revokes(self, sid: str) -> None:
        async with self.users.act() as act:
            await self.users.parts.revocations.revoke_session(act.work, sid, "test")

    async def hears_of(self, sid: str) -> None:
        while True:
            statement = parse_token(await self.hears(REVOCATION))
            if parse_claims(statement, RevocationClaims).sid == sid:
                return

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        shutdown = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.heralding.run(shutdown))
            try:
                yield
            finally:
                shutdown.set()


@asynccontextmanager
async def herald(url: str, realm: Realm, amqp_url: str) -> AsyncIterator[Herald]:
    await upgrade(url, MIGRATIONS)
    database = open_database(url)
    file = realm.folder / "key-set.jwt"
    file.write_text(realm.draft().sign(realm.root, now=realm.clock()))
    trust = IssuerTrust(realm.trust_root, file, database, clock=realm.clock)
    await trust.start()
    users = await open_users(realm, database)
    broker = Broker(amqp_url, name="user-service")
    heralding = Heralding(
        statements=users.handlers.statements,
        revocations=users.parts.revocations,
        trust=trust,
        publisher=Publisher(broker, client_id="user-service"),
        leadership=leadership(database),
    )
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_exchange(TRUST.name, TRUST.kind, durable=True)
        heard = await channel.declare_queue(exclusive=True)
        await heard.bind(TRUST.name, "")
        yield Herald(users, broker, heralding, heard)
    await broker.close(DEADLINE)
    await database.close()


@pytest_asyncio.fixture
async def scene(database_url: str, realm: Realm, amqp_url: str) -> AsyncIterator[Herald]:
    async with herald(database_url, realm, amqp_url) as scene:
        yield scene


async def test_what_is_revoked_while_the_broker_is_away_is_told_when_it_is_back(
    scene: Herald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.users.heralding.DEADLINE", 0.1)
    with capture_logs() as logs:
        async with scene.running():
            await scene.revokes("s" * 36)
            faults = {"revocations_not_told", "key_set_not_told", "feed_interrupted"}
            await until(lambda: faults <= {log["event"] for log in logs})
            monkeypatch.setattr("services.users.heralding.DEADLINE", DEADLINE)
            await scene.broker.start(DEADLINE)

            told = await scene.hears_each({REVOCATION, HEARTBEAT, KEY_SET})

    beat = parse_claims(parse_token(told[HEARTBEAT]), HeartbeatClaims)
    assert beat.seq == 1
    assert parse_claims(parse_token(told[REVOCATION]), RevocationClaims).sid == "s" * 36


async def test_the_key_set_is_told_first_of_all_and_beats_name_its_version(scene: Herald) -> None:
    await scene.broker.start(DEADLINE)

    async with scene.running():
        statement = await scene.hears(KEY_SET)
        beat = parse_claims(parse_token(await scene.hears(HEARTBEAT)), HeartbeatClaims)

    key_set = scene.users.realm.trust_root.verify(statement, now=scene.users.clock())
    assert key_set.version == beat.version == 1


async def test_what_is_committed_before_the_end_is_still_told(scene: Herald) -> None:
    await scene.broker.start(DEADLINE)

    async with scene.running():
        await scene.hears(HEARTBEAT)
        await scene.revokes("s" * 36)

    await scene.hears_of("s" * 36)
    assert not scene.heralding.leads


async def test_the_lock_of_a_leader_is_its_owners_alone(tmp_path: Path) -> None:
    """Whoever could open the file could hold it, and nobody would lead."""
    lock = tmp_path / "users.db.leader"
    lock.touch()
    lock.chmod(0o644)
    leads = leadership(open_database(f"sqlite+aiosqlite:///{tmp_path / 'users.db'}"))

    assert await leads.hold()

    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    await leads.release()


async def test_a_leader_that_lost_its_lock_takes_it_again_and_tells_what_came_between(
    postgres_url: str, realm: Realm, amqp_url: str
) -> None:
    async with herald(postgres_url, realm, amqp_url) as scene:
        await scene.broker.start(DEADLINE)
        async with scene.running():
            await scene.hears(HEARTBEAT)
            async with scene.users.database.transaction() as work:
                await work.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks"
                        " WHERE locktype = 'advisory' AND database ="
                        " (SELECT oid FROM pg_database WHERE datname = current_database())"
                    )
                )
            scene.users.parts.revocations.on_commit(lambda _: None)  # as another replica's
            await scene.revokes("s" * 36)

            await scene.hears_of("s" * 36)
            beats = [
                parse_claims(parse_token(await scene.hears(HEARTBEAT)), HeartbeatClaims)
                for _ in range(2)
            ]
            assert beats[-1].seq == 1
            assert scene.heralding.leads


async def test_a_leader_without_a_heartbeat_is_not_ready(scene: Herald) -> None:
    ticks = 1000.0
    scene.heralding._ticks = lambda: ticks
    await scene.broker.start(DEADLINE)

    async with scene.running():
        await scene.hears(HEARTBEAT)
        assert scene.heralding.ready

        ticks += 11  # nothing more was due, by this clock that stood still
        await scene.broker.close(DEADLINE)
        assert not scene.heralding.ready
