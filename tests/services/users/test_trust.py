"""The issuer's own trust: the newest statement, from its file or from another replica."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from auth.errors import KeySetError, TrustUnavailableError
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.statement import KeySetDraft
from messaging.database import Database, open_database
from messaging.migrations import upgrade
from services.errors import StartError
from services.users.audit import export
from services.users.store import MIGRATIONS, AdoptedKeySet, IssuerKey
from services.users.trust import IssuerTrust
from tests.services.users.realm import Clock, Realm

PATIENCE = 30


@dataclass
class Operator:
    """Signs statements, and lays them where a replica reads them."""

    realm: Realm
    database: Database
    folder: Path

    def statement(self, version: int, *, life: int = 90 * 24 * 3600) -> str:
        draft = self.realm.draft(version=version)
        return draft.sign(self.realm.root, now=self.realm.clock(), life=life)

    def lays(self, statement: str, replica: str = "one") -> Path:
        """Replaces the file, as `carnet trust` does."""
        path = self.folder / f"{replica}.jwt"
        new = self.folder / "new"
        new.write_text(statement + "\n")
        new.replace(path)
        return path

    def replica(self, name: str = "one", root: TrustRoot | None = None) -> IssuerTrust:
        return IssuerTrust(
            root or self.realm.trust_root,
            self.folder / f"{name}.jwt",
            self.database,
            clock=self.realm.clock,
        )

    async def started(self, name: str = "one") -> IssuerTrust:
        trust = self.replica(name)
        await trust.start()
        return trust

    async def versions(self) -> list[int]:
        async with self.database.session() as work:
            stored = select(AdoptedKeySet.version).order_by(AdoptedKeySet.version)
            return list(await work.scalars(stored))


@pytest_asyncio.fixture
async def operator(database_url: str, realm: Realm, tmp_path: Path) -> AsyncIterator[Operator]:
    await upgrade(database_url, MIGRATIONS)
    database = open_database(database_url)
    yield Operator(realm, database, tmp_path)
    await database.close()


@asynccontextmanager
async def running(trust: IssuerTrust) -> AsyncIterator[None]:
    shutdown = asyncio.Event()
    task = asyncio.create_task(trust.run(shutdown))
    try:
        yield
    finally:
        shutdown.set()
        await task


async def version_of(trust: IssuerTrust, version: int) -> None:
    """Wait until the replica holds this version."""
    async with asyncio.timeout(PATIENCE):
        while trust.key_set.version != version:
            trust.changed.clear()
            await trust.changed.wait()


async def test_it_starts_with_the_statement_of_its_file_and_keeps_it(operator: Operator) -> None:
    operator.lays(operator.statement(3))

    trust = await operator.started()

    assert trust.key_set.version == 3
    assert await operator.versions() == [3]
    async with operator.database.session() as work:
        (entry,) = [entry async for entry in export(work)]
        listed = (await work.scalars(select(IssuerKey.kid))).all()
    assert (entry["what"], entry["who"], entry["whom"]) == (
        "adopt_key_set",
        "trust-root",
        "version 3",
    )
    assert set(listed) == trust.key_set.issuer_keys.keys()


async def test_a_file_that_is_replaced_is_adopted(operator: Operator) -> None:
    operator.lays(operator.statement(1))
    trust = await operator.started()

    async with running(trust):
        operator.lays(operator.statement(2))
        await version_of(trust, 2)

    assert await operator.versions() == [1, 2]


async def test_what_one_replica_was_given_all_have(operator: Operator) -> None:
    operator.lays(operator.statement(1), "one")
    operator.lays(operator.statement(1), "two")
    one, two = await operator.started("one"), await operator.started("two")

    async with running(one), running(two):
        operator.lays(operator.statement(2), "two")
        await asyncio.gather(version_of(one, 2), version_of(two, 2))


async def test_replicas_that_get_one_statement_at_once_adopt_it_once(operator: Operator) -> None:
    statement = operator.statement(1)
    for number in range(5):
        operator.lays(statement, str(number))

    trusts = await asyncio.gather(*(operator.started(str(number)) for number in range(5)))

    assert {trust.key_set.version for trust in trusts} == {1}
    assert await operator.versions() == [1]


async def test_it_starts_with_the_database_s_statement_where_that_is_newer(
    operator: Operator,
) -> None:
    operator.lays(operator.statement(5), "one")
    await operator.started("one")
    operator.lays(operator.statement(4), "two")

    trust = await operator.started("two")

    assert trust.key_set.version == 5
    assert await operator.versions() == [5]


async def test_it_starts_without_a_file_where_the_database_has_a_statement(
    operator: Operator,
) -> None:
    operator.lays(operator.statement(5), "one")
    await operator.started("one")

    assert (await operator.started("another")).key_set.version == 5


async def test_it_does_not_start_without_any_statement(operator: Operator) -> None:
    with pytest.raises(StartError, match="cannot read"):
        await operator.started()


async def test_two_statements_of_one_version_keep_it_from_starting(operator: Operator) -> None:
    operator.lays(operator.statement(5), "one")
    await operator.started("one")
    operator.lays(operator.statement(5, life=60), "two")

    with pytest.raises(KeySetError, match="two statements claim to be version 5"):
        await operator.started("two")


async def test_under_an_expired_statement_it_does_not_start(operator: Operator) -> None:
    operator.lays(operator.statement(5, life=60))
    await operator.started()
    operator.realm.clock.now += 61 + 30

    with pytest.raises((KeySetError, TrustUnavailableError), match="expired"):
        await operator.started()


async def test_an_expired_statement_is_still_not_undercut(operator: Operator) -> None:
    """Else whoever keeps an old one could bring its keys back."""
    old = operator.statement(4)
    operator.lays(operator.statement(5, life=60))
    await operator.started()
    operator.realm.clock.now += 61 + 30
    operator.lays(old)

    with pytest.raises(TrustUnavailableError, match="expired"):
        await operator.started()


def _older(operator: Operator) -> str:
    return operator.statement(1)


def _other_of_the_same_version(operator: Operator) -> str:
    return operator.statement(2, life=60)


def _of_another_root(operator: Operator) -> str:
    return operator.realm.draft(version=9).sign(SigningKey.generate(), now=operator.realm.clock())


def _expired(operator: Operator) -> str:
    return operator.realm.draft(version=9).sign(
        operator.realm.root, now=operator.realm.clock() - 1000, life=10
    )


def _empty(_operator: Operator) -> str:
    return ""


def _no_statement(_operator: Operator) -> str:
    return "né"


def _without_issuer_keys(operator: Operator) -> str:
    draft = KeySetDraft.new("user-service")
    draft.version = 9
    return draft.sign(operator.realm.root, now=operator.realm.clock())


@pytest.mark.parametrize(
    "bad",
    [
        _older,
        _other_of_the_same_version,
        _of_another_root,
        _expired,
        _empty,
        _no_statement,
        _without_issuer_keys,
    ],
)
async def test_what_is_no_good_changes_nothing_and_the_next_good_one_is_taken(
    operator: Operator, bad: Callable[[Operator], str]
) -> None:
    operator.lays(operator.statement(2))
    trust = await operator.started()
    operator.lays(bad(operator))

    with contextlib.suppress(KeySetError):
        await trust.start()

    assert trust.key_set.version == 2
    async with running(trust):
        for version in (3, 4):
            operator.lays(operator.statement(version))
            await version_of(trust, version)

    assert await operator.versions() == [2, 3, 4]


async def test_a_file_that_is_gone_changes_nothing(operator: Operator) -> None:
    path = operator.lays(operator.statement(2))
    trust = await operator.started()
    path.unlink()

    await trust.start()

    assert trust.key_set.version == 2
    async with running(trust):
        operator.lays(operator.statement(3))
        await version_of(trust, 3)


async def test_after_a_change_of_the_root_the_old_one_s_statements_count_no_more(
    operator: Operator,
) -> None:
    operator.lays(operator.statement(7))
    await operator.started()
    root = SigningKey.generate()
    for version in (3, 7, 8):
        statement = operator.realm.draft(version=version).sign(root, now=operator.realm.clock())
        operator.lays(statement, f"new-{version}")
        trust = operator.replica(f"new-{version}", TrustRoot([root.public]))

        await trust.start()

        assert trust.key_set.version == version


def test_nothing_is_trusted_before_it_has_started(realm: Realm, tmp_path: Path) -> None:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'users.db'}")
    trust = IssuerTrust(realm.trust_root, tmp_path / "none", database, clock=Clock())

    with pytest.raises(RuntimeError):
        _ = trust.key_set
