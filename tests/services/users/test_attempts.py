"""Failed sign-ins: who fails too often waits, and learns nothing; the owner comes in."""

import asyncio

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, update

from messaging.rpc import Refused
from services.contracts.users import Register, SignIn, Tokens
from services.users.attempts import (
    FORGOTTEN,
    FREE_OF_AN_ACCOUNT,
    FREE_OF_AN_ORIGIN,
    KNOWN_FOR,
    LONGEST_WAIT,
    WINDOW,
    Limits,
    ends,
)
from services.users.passwords import Passwords
from services.users.pseudonyms import site
from services.users.store import Account, Attempts, KnownOrigin
from tests.services.users.realm import PASSWORD, Users, everywhere, open_users

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


async def sign_in(
    users: Users, password: str = PASSWORD, *, origin: str | None = HOME, name: str = "ada"
) -> Tokens:
    request = SignIn(name=name, password=password, origin=origin)
    return await users.handlers.sign_in(request, users.gateway)


async def fails(users: Users, times: int = 1, *, origin: str | None = HOME) -> None:
    for _ in range(times):
        with pytest.raises(Refused) as refusal:
            await sign_in(users, "wrong password", origin=origin)
        assert str(refusal.value) == "invalid_credentials: name or password is wrong"


async def is_let_in(users: Users, *, origin: str | None = HOME) -> bool:
    """Whether the right password opens a session; if not, the answer is the usual one."""
    outcome = await asyncio.gather(sign_in(users, origin=origin), return_exceptions=True)
    if isinstance(outcome[0], Tokens):
        return True
    assert str(outcome[0]) == "invalid_credentials: name or password is wrong"
    return False


@pytest.fixture(autouse=True)
async def quickly_checked(users: Users) -> None:
    """The account's password, hashed at the least cost: these tests try it a hundred times."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    async with users.database.transaction() as work:
        await work.execute(update(Account).values(password_hash=cheap))


@everywhere
async def test_after_five_failures_the_right_password_is_refused_as_a_wrong_one(
    users: Users,
) -> None:
    await fails(users, FREE_OF_AN_ACCOUNT)

    assert not await is_let_in(users)
    assert [entry["why"] for entry in await users.log()][-1] == "invalid_credentials: locked"
    users.clock.now += 2
    assert await is_let_in(users)


async def test_four_failures_are_free(users: Users) -> None:
    await fails(users, FREE_OF_AN_ACCOUNT - 1)

    assert await is_let_in(users)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (14, 512), (15, 900), (16, 900), (10**6, 900)],
)
def test_each_wait_is_twice_as_long_up_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    end = ends(failures, 5, 1000)

    assert end == (0 if seconds == 0 else 1000 + seconds)


async def test_a_success_is_the_end_of_the_failures_before_it(users: Users) -> None:
    await fails(users, FREE_OF_AN_ACCOUNT - 1)
    await sign_in(users)
    await fails(users, FREE_OF_AN_ACCOUNT - 1)

    assert await is_let_in(users)


async def test_what_is_tried_during_the_wait_does_not_prolong_it(users: Users) -> None:
    await fails(users, FREE_OF_AN_ACCOUNT)
    await fails(users, 50)

    users.clock.now += 2

    assert await is_let_in(users)


async def test_failures_are_forgotten_after_a_day_without_one(users: Users) -> None:
    for _ in range(20):
        await fails(users)
        users.clock.now += LONGEST_WAIT + 1
    users.clock.now += FORGOTTEN

    await fails(users)

    assert await is_let_in(users)


@everywhere
async def test_of_many_guesses_at_once_only_the_first_five_are_looked_at(users: Users) -> None:
    """Else a thousand of them would all be on their way before the first one counts."""
    guesses = [*(["wrong password"] * 30), PASSWORD, *(["wrong password"] * 9)]

    await asyncio.gather(*(sign_in(users, guess) for guess in guesses), return_exceptions=True)

    judged = [entry["why"] for entry in await users.log() if entry["what"] == "sign_in"]
    assert len(judged) == len(guesses)
    wrong = 0
    for why in judged:
        wrong = 0 if why is None else wrong + (why == "invalid_credentials: wrong_password")
        assert wrong <= FREE_OF_AN_ACCOUNT


@everywhere
async def test_right_passwords_at_once_are_all_let_in(users: Users) -> None:
    """Also while the first of them renews the hash, which is of an old cost."""
    outcomes = await asyncio.gather(*(sign_in(users) for _ in range(30)))

    assert len(outcomes) == 30


@everywhere
async def test_nobody_locks_the_owner_out_by_failing_elsewhere(users: Users) -> None:
    await sign_in(users, origin=HOME)
    await fails(users, 40, origin=ELSEWHERE)

    assert not await is_let_in(users, origin=ELSEWHERE)
    assert await is_let_in(users, origin=HOME)


async def test_nobody_locks_the_owner_out_from_many_places(users: Users) -> None:
    await sign_in(users, origin=HOME)
    for number in range(60):
        await fails(users, 1, origin=f"203.0.113.{number}")

    assert not await is_let_in(users, origin=ELSEWHERE)
    assert await is_let_in(users, origin=HOME)


async def test_nobody_locks_the_owner_out_by_failing_at_other_accounts_in_the_same_place(
    users: Users,
) -> None:
    await sign_in(users, origin=HOME)
    await sprays(users, FREE_OF_AN_ORIGIN + 10, origin=HOME)

    assert await is_let_in(users, origin=HOME)


async def test_who_fails_at_an_account_in_its_owners_place_waits_there(users: Users) -> None:
    await sign_in(users, origin=HOME)
    await fails(users, FREE_OF_AN_ACCOUNT, origin=HOME)

    assert not await is_let_in(users, origin=HOME)
    assert await is_let_in(users, origin=ELSEWHERE)


async def test_a_place_is_the_owners_for_thirty_days(users: Users) -> None:
    await sign_in(users, origin=HOME)
    users.clock.now += KNOWN_FOR + 1
    await fails(users, FREE_OF_AN_ACCOUNT, origin=ELSEWHERE)

    assert not await is_let_in(users, origin=HOME)


async def test_a_place_is_one_accounts_own(users: Users) -> None:
    await users.register("grace")
    await sign_in(users, origin=HOME, name="grace")
    await fails(users, FREE_OF_AN_ACCOUNT, origin=ELSEWHERE)

    assert not await is_let_in(users, origin=HOME)


async def sprays(users: Users, times: int, *, origin: str) -> None:
    """One password, tried at one account after the other; Argon2id runs for each."""
    for number in range(times):
        with pytest.raises(Refused):
            await sign_in(users, "123456789012", origin=origin, name=f"user-{number}")


@everywhere
async def test_who_tries_one_password_at_many_accounts_waits_as_well(users: Users) -> None:
    await sprays(users, FREE_OF_AN_ORIGIN, origin=ELSEWHERE)

    assert not await is_let_in(users, origin=ELSEWHERE)
    assert await is_let_in(users, origin=HOME)


async def test_a_success_of_ones_own_does_not_pay_for_failures_at_others(users: Users) -> None:
    await sprays(users, FREE_OF_AN_ORIGIN - 1, origin=ELSEWHERE)
    await users.register("mallory")
    await sign_in(users, origin=ELSEWHERE, name="mallory")
    await sprays(users, 1, origin=ELSEWHERE)

    assert not await is_let_in(users, origin=ELSEWHERE)


async def test_without_an_origin_the_account_is_counted(users: Users) -> None:
    await fails(users, FREE_OF_AN_ACCOUNT, origin=None)

    assert not await is_let_in(users, origin=None)


class CountingPasswords(Passwords):
    """Counts how often Argon2id ran to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.hashed = self.verified = 0

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)

    async def verify(self, stored: str | None, password: str) -> bool:
        outcome = await super().verify(stored, password)
        self.verified += 1
        return outcome


@pytest.mark.parametrize("password", [PASSWORD, "wrong password"])
async def test_during_the_wait_argon2id_runs_as_ever(users: Users, password: str) -> None:
    """Also not once more for the right one, whose hash is of an old cost."""
    await fails(users, FREE_OF_AN_ACCOUNT)
    passwords = CountingPasswords()
    users.handlers.accounts._passwords = passwords

    with pytest.raises(Refused):
        await sign_in(users, password)

    assert (passwords.verified, passwords.hashed) == (1, 0)


async def test_unknown_names_are_counted_like_known_ones(users: Users) -> None:
    """Else the work would tell which names there are."""
    for name in ("ada", "nobody"):
        with pytest.raises(Refused):
            await sign_in(users, "wrong password", name=name)

    async with users.database.session() as work:
        counts = (await work.scalars(select(Attempts.count).order_by(Attempts.count))).all()
    assert counts == [1, 1, 2]  # two accounts, one origin


async def test_lockout_may_be_off(users: Users) -> None:
    users = await open_users(users.realm, users.database, limits=Limits(lockout=False))

    await fails(users, 30)

    assert await is_let_in(users)


@everywhere
async def test_names_and_addresses_are_not_in_the_database(users: Users) -> None:
    await fails(users)
    await sign_in(users)
    async with users.database.session() as work:
        rows = [*(await work.scalars(select(Attempts.counted)))]
        rows += await work.scalars(select(KnownOrigin.origin))
        rows += [str(entry) for entry in await users.log()]

    assert len(rows) > 3
    for row in rows:
        assert HOME not in row
        assert "'ada'" not in row


@pytest.mark.parametrize(
    ("origin", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a proxy of ours", "a proxy of ours"),
        ("", ""),
    ],
)
def test_what_one_subscriber_may_change_is_one_place(origin: str, place: str) -> None:
    assert site(origin) == place


@everywhere
async def test_from_one_origin_so_many_accounts_are_made_in_an_hour(users: Users) -> None:
    users = await open_users(users.realm, users.database, limits=Limits(registrations=3))

    async def register(name: str, origin: str | None = HOME) -> int | None:
        """After how many seconds it may be tried again, if it may not be done now."""
        try:
            request = Register(name=name, password=PASSWORD, origin=origin)
            await users.handlers.register(request, users.gateway)
        except Refused as refusal:
            assert refusal.code == "too_many_attempts"  # noqa: PT017 - any other is a failure
            assert refusal.retry_after is not None  # noqa: PT017 - likewise
            return refusal.retry_after
        return None

    users.clock.now += 0.9
    assert [await register(f"user-{n}") for n in range(3)] == [None] * 3
    assert await register("user-3") == WINDOW
    assert await register("user-5", ELSEWHERE) is None
    assert await register("user-6", None) is None

    users.clock.now += 1000
    wait = await register("user-3")
    assert wait == WINDOW - 1000
    users.clock.now += wait - 1
    assert await register("user-3") == 1
    users.clock.now += 1
    assert await register("user-3") is None


@everywhere
async def test_what_is_long_ago_is_forgotten(users: Users) -> None:
    await fails(users)
    await sign_in(users)
    await fails(users)
    users.clock.now += FORGOTTEN + 2
    await users.parts.attempts.prune()
    async with users.database.session() as work:
        assert await work.scalar(select(func.count()).select_from(Attempts)) == 0
        assert await work.scalar(select(func.count()).select_from(KnownOrigin)) == 1

    users.clock.now += KNOWN_FOR
    await users.parts.attempts.prune()
    async with users.database.session() as work:
        assert await work.scalar(select(func.count()).select_from(KnownOrigin)) == 0
