"""Client credentials: a client proves itself by its own key, once per assertion."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from auth.assertion import AssertionClaims, sign_assertion
from auth.jws import ACCESS_TOKEN, CLIENT_ASSERTION, SEAL, parse_claims, sign_token
from auth.keys import SigningKey
from auth.strict import parse_token
from auth.tokens import AccessClaims
from messaging.rpc import Refused
from services.contracts.clients import Grant
from services.contracts.users import ClientCredentials, SignOut, Tokens
from services.users.store import SpentAssertion
from tests.services.users.realm import REPORTS, Users, as_client, everywhere


async def ask(users: Users, assertion: str, scope: str | None = None) -> Tokens:
    request = ClientCredentials(client_assertion=assertion, scope=scope)
    return await users.handlers.client_credentials(request, users.gateway)


async def refusal_of(users: Users, assertion: str, scope: str | None = None) -> str:
    with pytest.raises(Refused) as refusal:
        await ask(users, assertion, scope)
    return refusal.value.code


def genuine(users: Users, client: str = REPORTS) -> str:
    return sign_assertion(
        client, users.realm.seals[client], audience="user-service", now=users.clock()
    )


def assertion(
    users: Users, *, typ: str = CLIENT_ASSERTION, key: SigningKey | None = None, **changed: Any
) -> str:
    """A genuine assertion of `reports` with other claims."""
    now = int(users.clock())
    claims = {
        "iss": REPORTS,
        "sub": REPORTS,
        "aud": "user-service",
        "iat": now,
        "exp": now + 60,
        "jti": "0f8fad5bd9cb469fa165",
        **changed,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return sign_token(claims, typ=typ, key=key or users.realm.seals[REPORTS])


async def test_a_client_gets_a_token_in_its_own_name_and_nothing_to_refresh(
    users: Users,
) -> None:
    tokens = await ask(users, genuine(users))

    claims = parse_claims(parse_token(tokens.access_token), AccessClaims)
    assert (claims.sub, claims.client_id) == ("service:reports", "reports")
    assert claims.aud == "api-gateway"
    assert claims.scope == tokens.scope == "orders:read"
    assert claims.sid is None
    assert tokens.refresh_token is None


@pytest.mark.parametrize("iat", [None, -60])
async def test_only_what_the_standard_demands_is_demanded(users: Users, iat: int | None) -> None:
    issued = None if iat is None else int(users.clock()) + iat

    assert await ask(users, assertion(users, iat=issued))


@everywhere
async def test_an_assertion_is_used_once(users: Users) -> None:
    used = genuine(users)
    await ask(users, used)

    assert await refusal_of(users, used) == "invalid_client"


@everywhere
async def test_of_two_who_use_one_assertion_at_once_one_is_served(users: Users) -> None:
    used = genuine(users)

    outcomes = await asyncio.gather(*(ask(users, used) for _ in range(6)), return_exceptions=True)

    assert sum(isinstance(outcome, Tokens) for outcome in outcomes) == 1
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    assert refused == ["invalid_client"] * 5


async def test_an_id_that_was_used_is_used_whatever_else_the_assertion_says(users: Users) -> None:
    await ask(users, assertion(users))

    again = assertion(users, exp=int(users.clock()) + 120)

    assert await refusal_of(users, again) == "invalid_client"


@everywhere
async def test_two_clients_may_use_the_same_id(users: Users) -> None:
    grant = Grant(scopes=frozenset({"orders:read"}))
    trust = users.realm.trust(invoices=grant)
    users.with_trust(trust)
    await ask(users, assertion(users))

    other = assertion(users, iss="invoices", sub="invoices", key=users.realm.seals["invoices"])

    assert (await ask(users, other)).access_token


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": "order-service"},
        {"sub": None},
        {"iss": "order-service", "sub": "order-service"},
        {"iss": "nobody", "sub": "nobody"},
        {"iss": None},
        {"iss": ["reports"]},
        {"aud": "api-gateway"},
        {"aud": "user-service/"},
        {"aud": ["user-service"]},
        {"aud": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 201},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1.5},
        {"exp": True},
        {"iat": "now"},
        {"nbf": 2**40},
        {"iat": 2**40},
    ],
    ids=str,
)
async def test_an_assertion_with_another_claim_proves_nothing(
    users: Users, changed: dict[str, Any]
) -> None:
    assert await refusal_of(users, assertion(users, **changed)) == "invalid_client"


@pytest.mark.parametrize(
    ("iat", "exp"), [(0, -31), (None, 331), (None, 3600), (-331, 3600), (31, 3600)]
)
async def test_an_assertion_counts_for_five_minutes_at_most(
    users: Users, iat: int | None, exp: int
) -> None:
    """Whatever its `exp`: libraries let theirs live for an hour."""
    now = int(users.clock())
    made = assertion(users, iat=None if iat is None else now + iat, exp=now + exp)

    assert await refusal_of(users, made) == "invalid_client"


@everywhere
async def test_an_id_is_kept_for_as_long_as_its_assertion_counts_and_no_longer(
    users: Users,
) -> None:
    now = int(users.clock())
    used = assertion(users, exp=now + 3600)
    await ask(users, used)

    users.clock.now = now + 300 + 30
    await users.handlers.assertions.prune()
    assert await refusal_of(users, used) == "invalid_client"
    users.clock.now = now + 300 + 33
    await users.handlers.assertions.prune()

    assert await refusal_of(users, used) == "invalid_client"
    async with users.database.session() as work:
        assert (await work.scalars(select(SpentAssertion))).all() == []


async def test_an_assertion_of_a_library_is_typed_jwt(users: Users) -> None:
    assert await ask(users, assertion(users, typ="JWT"))


@pytest.mark.parametrize(
    "typ", [ACCESS_TOKEN, SEAL, "jwt", "secevent+jwt", "client-authentication+JWT"]
)
async def test_a_token_of_another_type_proves_nothing(users: Users, typ: str) -> None:
    assert await refusal_of(users, assertion(users, typ=typ)) == "invalid_client"


@pytest.mark.parametrize("signer", ["stranger", "order-service", "issuer"])
async def test_only_the_clients_own_key_proves_it(users: Users, signer: str) -> None:
    keys = {**users.realm.seals, "issuer": users.realm.issuer_key}
    key = keys.get(signer, SigningKey.generate())

    assert await refusal_of(users, assertion(users, key=key)) == "invalid_client"


@pytest.mark.parametrize("unverified", ["", "x", "..", "a.b.c", "x" * 4000])
async def test_what_is_no_token_proves_nothing(users: Users, unverified: str) -> None:
    assert await refusal_of(users, unverified) == "invalid_client"


@pytest.mark.parametrize("scope", ["orders:write", "orders:read orders:write", "", "orders"])
async def test_a_client_asks_for_no_more_than_the_statement_gives_it(
    users: Users, scope: str
) -> None:
    assert await refusal_of(users, genuine(users), scope) == "invalid_scope"


async def test_a_client_without_scopes_of_its_own_gets_no_token(users: Users) -> None:
    assert await refusal_of(users, genuine(users, "order-service")) == "invalid_scope"


async def test_a_services_token_belongs_to_no_session_that_could_be_ended(users: Users) -> None:
    tokens = await ask(users, genuine(users))

    with pytest.raises(Refused) as refusal:
        await users.handlers.sign_out(SignOut(access_token=tokens.access_token), users.gateway)

    assert refusal.value.code == "invalid_grant"


@everywhere
async def test_a_used_id_is_kept_until_its_assertion_is_refused_as_expired(users: Users) -> None:
    used = genuine(users)
    await ask(users, used)
    end = parse_claims(parse_token(used), AssertionClaims).exp

    users.clock.now = end + 30
    await users.handlers.assertions.prune()
    assert await refusal_of(users, used) == "invalid_client"
    users.clock.now = end + 33
    await users.handlers.assertions.prune()

    async with users.database.session() as work:
        assert (await work.scalars(select(SpentAssertion))).all() == []
    assert await refusal_of(users, used) == "invalid_client"


@pytest.mark.parametrize("caller", ["order-service", "nobody"])
async def test_an_assertion_proves_nothing_when_another_client_than_the_gateway_relays_it(
    users: Users, caller: str
) -> None:
    """Who gets one to read has it from its owner, who meant somebody else."""
    request = ClientCredentials(client_assertion=genuine(users))

    with pytest.raises(Refused) as refusal:
        await users.handlers.client_credentials(request, as_client(caller))

    assert refusal.value.code == "invalid_client"
    assert (await users.log())[-1]["why"] == "invalid_client: of reports"
    assert await ask(users, request.client_assertion)  # and it is not used up by that


async def test_a_client_proves_itself_without_the_gateway(users: Users) -> None:
    request = ClientCredentials(client_assertion=genuine(users))

    assert await users.handlers.client_credentials(request, as_client(REPORTS))


async def test_nobody_but_the_gateway_says_what_the_issuer_is_called(users: Users) -> None:
    """Else what a client made for another server would prove it here."""
    elsewhere = "https://elsewhere.example"
    made = assertion(users, aud=elsewhere)
    request = ClientCredentials(client_assertion=made, audiences=(elsewhere,))

    with pytest.raises(Refused) as refusal:
        await users.handlers.client_credentials(request, as_client(REPORTS))

    assert refusal.value.code == "invalid_client"
    assert await users.handlers.client_credentials(request, users.gateway)
