"""An idempotency key stands for one request of one user, and so for one message."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, event, func, select

from messaging.database import Database, open_database
from messaging.errors import DatabaseUnavailableError
from messaging.migrations import upgrade
from services.gateway.idempotency import (
    IdempotencyKeys,
    KeyReusedError,
    message_id_of,
    request_hash_of,
)
from services.gateway.store import KEYS, METADATA, MIGRATIONS

ADA = "0d3c7a52-2f1b-4a39-9d57-6c1f6e0a7f10"
BOB = "c5a2f4b1-9a53-4a02-8f2d-0a0cbe2f7e11"
TEA = request_hash_of("POST", "/v1/orders", b'{"sku":"tea"}')
COFFEE = request_hash_of("POST", "/v1/orders", b'{"sku":"coffee"}')
HOURS = 3600


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await upgrade(database_url, MIGRATIONS)
    opened = open_database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def now() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def keys(database: Database, now: list[float]) -> IdempotencyKeys:
    return IdempotencyKeys(database, clock=lambda: now[0])


async def claim(keys: IdempotencyKeys, subject: str, key: str, request: str) -> None:
    await keys.claim(subject, key, request, message_id_of("api-gateway", subject, key))


async def rows(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(KEYS)) or 0


async def test_the_same_request_may_be_repeated(keys: IdempotencyKeys, database: Database) -> None:
    for _ in range(3):
        await claim(keys, ADA, "key-1", TEA)

    assert await rows(database) == 1


async def test_another_request_under_the_same_key_is_refused(keys: IdempotencyKeys) -> None:
    await claim(keys, ADA, "key-1", TEA)

    with pytest.raises(KeyReusedError):
        await claim(keys, ADA, "key-1", COFFEE)


async def test_two_users_may_choose_the_same_key(keys: IdempotencyKeys) -> None:
    await claim(keys, ADA, "key-1", TEA)
    await claim(keys, BOB, "key-1", COFFEE)


async def test_equal_requests_at_once_write_one_row(
    keys: IdempotencyKeys, database: Database
) -> None:
    await asyncio.gather(*(claim(keys, ADA, "key-1", TEA) for _ in range(10)))

    assert await rows(database) == 1


async def test_of_different_requests_at_once_one_wins(keys: IdempotencyKeys) -> None:
    outcomes = await asyncio.gather(
        *(claim(keys, ADA, "key-1", request) for request in (TEA, COFFEE) * 5),
        return_exceptions=True,
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, KeyReusedError)]
    assert outcomes.count(None) == 5
    assert len(refused) == 5


async def test_keys_that_are_claimed_at_once_share_a_transaction(
    keys: IdempotencyKeys, database: Database
) -> None:
    commits: list[object] = []
    event.listen(database.engine.sync_engine, "commit", commits.append)

    await asyncio.gather(*(claim(keys, ADA, f"key-{number}", TEA) for number in range(100)))

    assert await rows(database) == 100
    assert len(commits) <= 2


async def test_replicas_that_claim_the_same_keys_do_not_lock_each_other_out(
    database: Database, now: list[float]
) -> None:
    replicas = [IdempotencyKeys(database, clock=lambda: now[0]) for _ in "abcd"]

    async with asyncio.timeout(10):
        await asyncio.gather(
            *(
                claim(replica, ADA, f"key-{(number * 7 + at * 31) % 50}", TEA)
                for number in range(50)
                for at, replica in enumerate(replicas)
            )
        )

    assert await rows(database) == 50


async def test_a_request_that_is_cut_off_takes_no_other_ones_claim(keys: IdempotencyKeys) -> None:
    claims = [asyncio.create_task(claim(keys, ADA, f"key-{n}", TEA)) for n in range(3)]
    await asyncio.sleep(0)  # all wait
    claims[0].cancel()

    outcomes = await asyncio.gather(*claims, return_exceptions=True)

    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [None, None]


async def test_whoever_waits_is_told_that_the_database_is_away(
    keys: IdempotencyKeys, database: Database
) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.drop_all)

    outcomes = await asyncio.gather(
        *(claim(keys, ADA, f"key-{number}", TEA) for number in range(5)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailableError] * 5


async def test_a_key_is_kept_for_48_hours(
    keys: IdempotencyKeys, database: Database, now: list[float]
) -> None:
    await claim(keys, ADA, "key-1", TEA)
    now[0] += 48 * HOURS - 1
    await keys.prune()
    assert await rows(database) == 1

    now[0] += 1
    await keys.prune()
    assert await rows(database) == 0


async def test_a_key_that_is_over_but_not_yet_pruned_may_be_taken_again(
    keys: IdempotencyKeys, now: list[float]
) -> None:
    await claim(keys, ADA, "key-1", TEA)
    now[0] += 48 * HOURS

    await claim(keys, ADA, "key-1", COFFEE)

    with pytest.raises(KeyReusedError):
        await claim(keys, ADA, "key-1", TEA)


async def test_pruning_begins_at_once_and_ends_at_shutdown(
    keys: IdempotencyKeys, database: Database, now: list[float]
) -> None:
    await claim(keys, ADA, "key-1", TEA)
    now[0] += 48 * HOURS
    shutdown = asyncio.Event()
    shutdown.set()

    async with asyncio.timeout(10):
        await keys.keep_pruned(shutdown)

    assert await rows(database) == 0


async def test_the_tables_are_those_of_the_migrations(database: Database) -> None:
    async with database.engine.connect() as connection:
        differences = await connection.run_sync(_differences)

    assert differences == []


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), METADATA))


def test_the_message_id_is_a_uuid_of_version_8() -> None:
    derived = UUID(message_id_of("api-gateway", ADA, "key-1"))

    assert (derived.version, derived.variant) == (8, "specified in RFC 4122")


def test_the_message_id_is_pinned() -> None:
    """It is part of the wire contract: another release of the gateway derives the same one."""
    derived = message_id_of("api-gateway", ADA, "key-1")

    assert derived == "9a123859-0c13-84df-accc-827713b2b90c"


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_different_parts_never_make_the_same_message_id(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (message_id_of(*one) == message_id_of(*other)) == (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    assert message_id_of("a", "b", "c") != message_id_of("a", "bc", "")
    assert request_hash_of("POST", "/v1", b"x") != request_hash_of("POST", "/v1x", b"")
