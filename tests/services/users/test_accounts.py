"""Accounts: registering, the password check, and what ends an account's access."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from argon2 import PasswordHasher
from pydantic import ValidationError
from sqlalchemy import Connection, select, update

from auth.passwords import hash_password
from messaging.contract import InvalidBodyError
from messaging.migrations import upgrade
from messaging.rpc import Refused
from services.contracts.users import Exchange, Refresh, Register, SignIn
from services.users.accounts import NameTakenError, UnknownAccountError
from services.users.passwords import Passwords
from services.users.store import MIGRATIONS, Account, Base, Session
from tests.services.users.realm import PASSWORD, Users, everywhere


@everywhere
async def test_a_new_account_is_a_customer_with_a_uuid_and_no_readable_password(
    users: Users,
) -> None:
    async with users.database.session() as work:
        account = (await work.scalars(select(Account))).one()

    assert account.name == "ada"
    assert account.roles == ["customer"]
    assert len(account.sub) == 36
    assert account.password_hash.startswith("$argon2id$")
    assert PASSWORD not in account.password_hash


@everywhere
async def test_a_name_is_taken_once(users: Users) -> None:
    with pytest.raises(NameTakenError) as refusal:
        await users.register("ada")

    assert refusal.value.code == "name_taken"


@everywhere
async def test_of_two_who_take_a_name_at_once_one_gets_it(users: Users) -> None:
    outcomes = await asyncio.gather(
        *(users.register("grace") for _ in range(4)), return_exceptions=True
    )

    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        *(["NameTakenError"] * 3),
        "str",
    ]


@everywhere
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "wrong password"),
        ("nobody", PASSWORD),
        ("Ada", PASSWORD),
        ("ada ", PASSWORD),
        ("ada\x00", PASSWORD),
        ("ada' OR '1'='1", PASSWORD),
        ("", PASSWORD),
        ("ada", PASSWORD + " "),
        ("ada", PASSWORD.upper()),
    ],
)
async def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(
    users: Users, name: str, password: str
) -> None:
    with pytest.raises(Refused) as refusal:
        await users.handlers.sign_in(SignIn(name=name, password=password), users.gateway)

    assert refusal.value.code == "invalid_credentials"
    assert refusal.value.detail == "name or password is wrong"


class CountingPasswords(Passwords):
    """Counts how often Argon2id ran to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.verified = 0

    async def verify(self, stored: str | None, password: str) -> bool:
        outcome = await super().verify(stored, password)
        self.verified += 1
        return outcome


@pytest.mark.parametrize("name", ["ada", "nobody", "not a name"])
async def test_the_hash_is_computed_whoever_is_named(users: Users, name: str) -> None:
    passwords = CountingPasswords()
    users.handlers.accounts._passwords = passwords

    assert await users.handlers.accounts.authenticate(name, "wrong password") is None

    assert passwords.verified == 1


async def test_a_flood_of_sign_ins_is_told_to_come_back_and_holds_nobody_else_up(
    users: Users,
) -> None:
    tokens = await users.sign_in()
    assert tokens.refresh_token is not None
    users.handlers.accounts._passwords = Passwords(1, most=5)
    attempt = SignIn(name="nobody", password="wrong password")

    flood = [asyncio.create_task(users.handlers.sign_in(attempt, users.gateway)) for _ in range(50)]
    refreshed = await users.handlers.refresh(
        Refresh(refresh_token=tokens.refresh_token), users.gateway
    )

    assert refreshed.access_token
    assert not all(task.done() for task in flood)
    refusals = await asyncio.gather(*flood, return_exceptions=True)
    codes = Counter(refusal.code for refusal in refusals if isinstance(refusal, Refused))
    assert codes.keys() == {"unavailable", "invalid_credentials"}
    assert codes.total() == len(flood)
    assert codes["unavailable"] > codes["invalid_credentials"] >= 5
    assert (await users.sign_in()).access_token


async def test_a_disabled_account_cannot_sign_in_and_the_answer_does_not_say_so(
    users: Users,
) -> None:
    await users.handlers.accounts.disable(users.operator, "ada")

    with pytest.raises(Refused) as refusal:
        await users.sign_in()
    assert refusal.value.code == "invalid_credentials"

    await users.handlers.accounts.enable(users.operator, "ada")
    assert (await users.sign_in()).access_token


class OvertakenPasswords(Passwords):
    """Something happens between the check and what follows from it."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    async def verify(self, stored: str | None, password: str) -> bool:
        outcome = await super().verify(stored, password)
        await self._meanwhile()
        return outcome


@everywhere
@pytest.mark.parametrize("change", ["password", "disable"])
async def test_a_change_during_the_sign_in_opens_no_session(users: Users, change: str) -> None:
    accounts = users.handlers.accounts

    async def meanwhile() -> None:
        if change == "password":
            await accounts.change_password(users.operator, "ada", "another battery staple")
        else:
            await accounts.disable(users.operator, "ada")

    accounts._passwords = OvertakenPasswords(meanwhile)

    with pytest.raises(Refused) as refusal:
        await users.sign_in()

    assert refusal.value.code == "invalid_credentials"
    async with users.database.session() as work:
        assert (await work.scalars(select(Session))).all() == []


@everywhere
async def test_a_hash_that_is_renewed_during_the_sign_in_is_no_change(users: Users) -> None:
    """As another sign-in of the same account does, when the cost of hashing has risen."""

    async def meanwhile() -> None:
        async with users.database.transaction() as work:
            renewed = update(Account).values(password_hash=hash_password(PASSWORD))
            await work.execute(renewed)

    users.handlers.accounts._passwords = OvertakenPasswords(meanwhile)

    assert (await users.sign_in()).access_token


async def test_after_a_change_of_password_only_the_new_one_counts(users: Users) -> None:
    await users.handlers.accounts.change_password(users.operator, "ada", "another battery staple")

    with pytest.raises(Refused):
        await users.sign_in()
    assert await users.handlers.accounts.authenticate("ada", "another battery staple")


@everywhere
@pytest.mark.parametrize("change", ["password", "roles", "disable and enable"])
async def test_what_changes_an_account_ends_all_that_it_had(users: Users, change: str) -> None:
    tokens = await users.sign_in()
    accounts = users.handlers.accounts
    match change:
        case "password":
            await accounts.change_password(users.operator, "ada", PASSWORD)
        case "roles":
            await accounts.change_roles(users.operator, "ada", ["customer", "operator"])
        case _:
            await accounts.disable(users.operator, "ada")
            await accounts.enable(users.operator, "ada")

    exchange = Exchange(
        subject_token=tokens.access_token, audience="order-service", scope="orders:read"
    )
    with pytest.raises(Refused) as refusal:
        await users.handlers.exchange_token(exchange, users.gateway)
    assert refusal.value.code == "invalid_grant"
    with pytest.raises(Refused) as refusal:
        await users.handlers.refresh(
            Refresh(refresh_token=tokens.refresh_token or ""), users.gateway
        )
    assert refusal.value.code == "invalid_grant"


async def test_an_operator_gets_the_scopes_of_an_operator(users: Users) -> None:
    await users.handlers.accounts.change_roles(users.operator, "ada", ["operator"])

    scope = (await users.sign_in()).scope

    assert "dead-letters:release" in scope.split(" ")
    assert "orders:read-all" in scope.split(" ")


async def test_a_role_that_is_no_more_gives_nothing(users: Users) -> None:
    await users.handlers.accounts.change_roles(users.operator, "ada", ["emperor"])

    assert (await users.sign_in()).scope == ""


async def test_an_account_that_is_not_there_cannot_be_changed(users: Users) -> None:
    with pytest.raises(UnknownAccountError):
        await users.handlers.accounts.disable(users.operator, "nobody")


@everywhere
async def test_a_hash_of_lower_cost_is_replaced_at_the_next_sign_in(users: Users) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    async with users.database.transaction() as work:
        (await work.scalars(select(Account))).one().password_hash = weak

    await users.sign_in()

    account = await users.handlers.accounts.find("ada")
    assert account is not None
    assert account.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert account.epoch == 1
    assert await users.sign_in()


def test_a_password_of_a_megabyte_is_refused_before_it_is_hashed() -> None:
    body = b'{"name":"ada","password":"%s"}' % (b"x" * 2**20)
    for contract in (SignIn, Register):
        with pytest.raises(InvalidBodyError):
            contract.from_body(body)
        with pytest.raises(ValidationError):
            contract(name="ada", password="x" * 257)


@everywhere
async def test_the_migrations_make_the_tables_that_the_code_has(users: Users) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with users.database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


@everywhere
async def test_migrating_again_changes_nothing(users: Users) -> None:
    await upgrade(users.database.url.render_as_string(hide_password=False), MIGRATIONS)

    assert await users.handlers.accounts.find("ada")
