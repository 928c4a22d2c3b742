"""The trust feed: what is revoked is told at once, by whoever revoked it, and by a leader too."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from sqlalchemy import text

from auth.feed import Feed
from auth.jws import parse_claims
from auth.statement import KeySetDraft
from auth.statements import Revocation
from auth.strict import parse_token
from auth.tokens import AccessClaims
from messaging.broker import Broker
from messaging.database import Database, open_database
from messaging.errors import DatabaseUnavailableError, MessagingError
from messaging.migrations import upgrade
from messaging.rpc import RpcRefusedError
from messaging.trust import LiveTrust, TrustSupply
from services.authority import Authority
from services.contracts.administration import EndSession, EndSessions
from services.contracts.scopes import OPERATOR
from services.contracts.topology import GATEWAY, OPERATOR_DESK
from services.contracts.users import (
    GetKeySet,
    GetRevocations,
    Refresh,
    Register,
    RevokeToken,
    SignIn,
    SignOut,
    Tokens,
)
from services.users.acts import Asker
from services.users.assembly import open_register
from services.users.audit import What
from services.users.leadership import leadership
from services.users.passwords import Passwords
from services.users.signing import choose
from services.users.store import MIGRATIONS
from tests.brokers import RunningBroker
from tests.services.users.realm import PASSWORD, REPORTS
from tests.services.users.running import (
    DEADLINE,
    Client,
    Running,
    opened,
    prepare,
    running,
    serving,
    sqlite_url,
)


@dataclass
class Party:
    """A relying party: what it hears, as it hears it."""

    trust: LiveTrust
    heard: asyncio.Queue[Revocation]

    async def hears(self) -> Revocation:
        async with asyncio.timeout(DEADLINE):
            return await self.heard.get()

    async def hears_of(self, sid: str | None) -> None:
        """Wait until it hears that this session has ended; of others it may hear again."""
        while (await self.hears()).sid != sid:
            pass

    async def holds(self, holds: Callable[[LiveTrust], bool]) -> None:
        """Wait until what it trusts is so."""
        async with asyncio.timeout(DEADLINE):
            while not holds(self.trust):
                self.trust._fresh.clear()
                await self.trust._fresh.wait()


@asynccontextmanager
async def party_of(service: Running, client: Client) -> AsyncIterator[Party]:
    """A relying party that follows the feed, with its own connection; it is fresh already."""
    heard: asyncio.Queue[Revocation] = asyncio.Queue()
    broker = await Broker(service.amqp_url, name="party").start(DEADLINE)
    feed = Feed(service.root, service.trust.key_set)
    trust = LiveTrust(feed, broker=broker, client_id="party", clock=time.time)
    trust.on_revoked(heard.put_nowait)
    shutdown = asyncio.Event()

    async def snapshot(after: int) -> str:
        return (await client.ask(GetRevocations(after=after))).snapshot

    async def key_set() -> str:
        return (await client.ask(GetKeySet())).statement

    supply = TrustSupply(snapshot=snapshot, key_set=key_set, keep=lambda _: None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(trust.run(supply, shutdown))
        try:
            await trust.wait_until_fresh(DEADLINE)
            yield Party(trust, heard)
        finally:
            shutdown.set()
    await broker.close(DEADLINE)


@dataclass
class Scene:
    """A user service that runs, the gateway that asks it, a party that listens, and `ada`."""

    service: Running
    gateway: Client
    party: Party

    async def sign_in(self) -> Tokens:
        return await self.gateway.ask(SignIn(name="ada", password=PASSWORD))


@pytest_asyncio.fixture
async def scene(amqp_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(tmp_path, amqp_url) as service:
        gateway = await service.client(GATEWAY)
        await gateway.ask(Register(name="ada", password=PASSWORD))
        async with party_of(service, gateway) as party:
            yield Scene(service, gateway, party)


@pytest_asyncio.fixture
async def database(scene: Scene) -> AsyncIterator[Database]:
    """The service's database, opened by another process, such as an operator's command."""
    database = open_database(sqlite_url(scene.service.state))
    yield database
    await database.close()


def sid_of(tokens: Tokens) -> str | None:
    return parse_claims(parse_token(tokens.access_token), AccessClaims).sid


async def _signs_out(scene: Scene, tokens: Tokens) -> None:
    await scene.gateway.ask(SignOut(access_token=tokens.access_token))


async def _revokes(scene: Scene, tokens: Tokens) -> None:
    await scene.gateway.ask(RevokeToken(token=tokens.refresh_token or ""))


async def _reuses(scene: Scene, tokens: Tokens) -> None:
    request = Refresh(refresh_token=tokens.refresh_token or "")
    await scene.gateway.ask(request)
    with pytest.raises(RpcRefusedError):
        await scene.gateway.ask(request)


async def _operator_of(scene: Scene) -> tuple[Client, str]:
    """An operator's desk, and the access token of who has signed in there."""
    database = open_database(sqlite_url(scene.service.state))
    accounts = open_register(database, Passwords(), clock=time.time).accounts
    await accounts.add(Asker.operator(), "grace", PASSWORD, [OPERATOR])
    await database.close()
    desk = await scene.service.client(OPERATOR_DESK)
    return desk, (await desk.ask(SignIn(name="grace", password=PASSWORD))).access_token


async def _operator_ends_it(scene: Scene, tokens: Tokens) -> None:
    desk, token = await _operator_of(scene)
    await desk.ask(EndSession(access_token=token, sid=sid_of(tokens) or ""))


@pytest.mark.parametrize("ends", [_signs_out, _revokes, _reuses, _operator_ends_it])
async def test_the_end_of_a_session_is_heard(
    scene: Scene, ends: Callable[[Scene, Tokens], Awaitable[None]]
) -> None:
    tokens = await scene.sign_in()

    await ends(scene, tokens)

    assert (await scene.party.hears()).sid == sid_of(tokens)
    assert scene.party.trust.counts["asked"] == 1  # the snapshot at the start; this was told


async def test_it_is_heard_when_an_operator_ends_all_sessions_of_an_account(scene: Scene) -> None:
    access = parse_claims(parse_token((await scene.sign_in()).access_token), AccessClaims)
    desk, token = await _operator_of(scene)

    await desk.ask(EndSessions(access_token=token, name="ada"))

    heard = await scene.party.hears()
    assert (heard.sub, heard.epoch) == (access.sub, access.epoch + 1)
    assert scene.party.trust.counts["asked"] == 1  # the snapshot at the start; this was told


async def test_what_another_process_revokes_is_heard(scene: Scene, database: Database) -> None:
    accounts = open_register(database, Passwords(), clock=time.time).accounts

    await accounts.disable(Asker.operator(), "ada")

    heard = await scene.party.hears()
    account = await accounts.find("ada")
    assert account is not None
    assert (heard.sub, heard.epoch) == (account.sub, account.epoch)


async def test_a_thousand_revocations_are_all_heard_in_full(
    scene: Scene, database: Database
) -> None:
    register = open_register(database, Passwords(), clock=time.time)
    async with register.acts.of(Asker.operator(), What.REVOKE_USER) as act:
        for number in range(1000):
            await register.revocations.revoke_session(act.work, f"{number:036}", "test")

    heard = {(await scene.party.hears()).sid for _ in range(1000)}

    assert len(heard) == 1000
    assert scene.party.trust.counts["asked"] == 1  # the snapshot at the start
    assert scene.party.trust.counts["heard"] < 100  # not each by itself


async def test_a_statement_that_replaces_another_is_heard(scene: Scene) -> None:
    authority = Authority(scene.service.state)
    draft = KeySetDraft.of(authority.latest())
    draft.withdraw_client(REPORTS)

    published = authority.publish(draft, now=time.time())

    await scene.party.holds(lambda trust: trust.key_set.version == published.version)
    assert REPORTS not in scene.party.trust.key_set.clients


async def test_heartbeats_go_on_under_the_next_key(scene: Scene, database: Database) -> None:
    """Rotated by a command, which does what it must in the database alone."""
    key = next(k for k, v in scene.service.trust.key_set.issuer_keys.items() if v.state == "next")
    async with database.transaction() as work:
        await choose(work, key, now=int(time.time()))

    async with asyncio.timeout(DEADLINE):
        while True:
            tokens = await scene.sign_in()
            if parse_token(tokens.access_token).unverified_header["kid"] == key:
                break

    await _signs_out(scene, tokens)
    assert (await scene.party.hears()).sid == sid_of(tokens)
    heard = scene.party.trust.counts["heard"]
    await scene.party.holds(lambda trust: trust.counts["heard"] >= heard + 2)
    assert scene.party.trust.fresh


async def test_what_was_revoked_while_no_service_ran_is_told_by_the_next_one(
    amqp_url: str, tmp_path: Path
) -> None:
    prepare(tmp_path)
    await upgrade(sqlite_url(tmp_path), MIGRATIONS)
    database = open_database(sqlite_url(tmp_path))
    async with opened(tmp_path, amqp_url) as service:
        client = await service.client(GATEWAY)
        async with (
            serving(tmp_path, amqp_url) as shutdown,
            party_of(service, client) as party,
        ):
            shutdown.set()
            register = open_register(database, Passwords(), clock=time.time)
            account = await register.accounts.add(Asker.operator(), "ada", PASSWORD, [])
            await register.accounts.disable(Asker.operator(), "ada")
            async with serving(tmp_path, amqp_url):
                assert (await party.hears()).sub == account.sub
    await database.close()


async def test_another_replica_takes_over_and_nothing_is_lost(
    amqp_url: str, tmp_path: Path, postgres_url: str
) -> None:
    prepare(tmp_path)
    async with opened(tmp_path, amqp_url) as service:
        client = await service.client(GATEWAY)
        async with (
            serving(tmp_path, amqp_url, postgres_url) as first,
            party_of(service, client) as party,
            serving(tmp_path, amqp_url, postgres_url),
        ):
            await client.ask(Register(name="ada", password=PASSWORD))
            for stop in (None, first):
                if stop is not None:
                    stop.set()
                tokens = await client.ask(SignIn(name="ada", password=PASSWORD))
                await client.ask(SignOut(access_token=tokens.access_token))
                await party.hears_of(sid_of(tokens))
            heard = party.trust.counts["heard"]
            await party.holds(lambda trust: trust.counts["heard"] >= heard + 2)
            assert party.trust.fresh


async def test_after_the_connections_broke_the_feed_goes_on(
    scene: Scene, broker: RunningBroker, vhost: str
) -> None:
    await cut_connections(broker, vhost, name="user-service")

    tokens = await signed_in_again(scene)
    await _signs_out(scene, tokens)

    await scene.party.hears_of(sid_of(tokens))


async def cut_connections(broker: RunningBroker, vhost: str, *, name: str) -> None:
    """Close both of a service's connections, once the broker's statistics list them."""
    async with asyncio.timeout(DEADLINE), broker.management() as api:
        while True:
            answer = await api.get(f"/vhosts/{vhost}/connections")
            theirs = [c["name"] for c in answer.json() if name in str(c["client_properties"])]
            if len(theirs) == 2:
                break
    async with broker.management() as api:
        for connection in theirs:
            await api.delete(f"/connections/{quote(connection, safe='')}")


async def signed_in_again(scene: Scene) -> Tokens:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                return await scene.gateway.ask(SignIn(name="ada", password=PASSWORD), deadline=2)
            except MessagingError:
                continue


async def test_one_leads_until_it_lets_go(database_url: str) -> None:
    first, second = open_database(database_url), open_database(database_url)
    one, two = leadership(first), leadership(second)

    assert await one.hold()
    assert not await two.hold()
    assert await one.hold()
    await one.release()
    assert await two.hold()
    assert not await one.hold()

    await two.release()
    for database in (first, second):
        await database.close()


async def test_a_leader_whose_connection_is_gone_leads_no_more(postgres_url: str) -> None:
    first, second = open_database(postgres_url), open_database(postgres_url)
    one, two = leadership(first), leadership(second)
    assert await one.hold()
    async with second.transaction() as work:
        await work.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )

    with pytest.raises(DatabaseUnavailableError):
        await one.hold()

    assert await two.hold()
    assert not await one.hold()
    await two.release()
    for database in (first, second):
        await database.close()
