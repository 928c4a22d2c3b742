"""Token exchange: a carnet is never more than its access token, and not for everybody."""

from typing import Any

import pytest

from auth.errors import TrustUnavailableError
from auth.jws import ACCESS_TOKEN, CARNET, CLIENT_ASSERTION, SEAL, members, parse_claims, sign_token
from auth.keys import SigningKey
from auth.strict import parse_token
from auth.tokens import AccessClaims, CarnetClaims, Issuer
from messaging.rpc import Refused
from services.contracts.clients import CLIENTS, Grant
from services.contracts.users import Exchange, Exchanged, SignOut
from tests.services.users.realm import REPORTS, Users, as_client


async def exchange(
    users: Users,
    token: str,
    *,
    scope: str = "orders:read",
    audience: str = "order-service",
    client: str = "api-gateway",
) -> Exchanged:
    request = Exchange(subject_token=token, audience=audience, scope=scope)
    return await users.handlers.exchange_token(request, as_client(client))


async def refusal_of(users: Users, token: str, **changed: str) -> str:
    with pytest.raises(Refused) as refusal:
        await exchange(users, token, **changed)
    return refusal.value.code


def claims_of(token: str) -> AccessClaims:
    return parse_claims(parse_token(token), AccessClaims)


def signed_anew(
    users: Users,
    token: str,
    *,
    typ: str = ACCESS_TOKEN,
    key: SigningKey | None = None,
    **changed: Any,
) -> str:
    """The token with other claims, genuinely signed by the issuer."""
    claims = {**members(claims_of(token)), **changed}
    return sign_token(
        {name: value for name, value in claims.items() if value is not None},
        typ=typ,
        key=key or users.realm.issuer_key,
    )


async def test_a_carnet_carries_the_users_session_to_one_receiver_through_one_client(
    users: Users,
) -> None:
    access = (await users.sign_in()).access_token
    parent = claims_of(access)

    exchanged = await exchange(users, access)

    token = parse_token(exchanged.carnet)
    carnet = parse_claims(token, CarnetClaims)
    assert token.unverified_header["typ"] == CARNET
    assert (carnet.iss, carnet.sub, carnet.sid, carnet.epoch) == (
        "user-service",
        parent.sub,
        parent.sid,
        parent.epoch,
    )
    assert carnet.aud == "order-service"
    assert carnet.actors == ("api-gateway",)
    assert carnet.scope == exchanged.scope == "orders:read"
    assert carnet.exp - carnet.iat == exchanged.expires_in == 300
    assert carnet.jti != parent.jti


async def test_a_carnet_never_outlives_its_access_token(users: Users) -> None:
    access = (await users.sign_in()).access_token
    users.clock.now = claims_of(access).exp - 100

    exchanged = await exchange(users, access)

    carnet = parse_claims(parse_token(exchanged.carnet), CarnetClaims)
    assert carnet.exp == claims_of(access).exp
    assert exchanged.expires_in == 100


@pytest.mark.parametrize("late", [0, 10, 31])
async def test_an_expired_access_token_is_exchanged_for_nothing(users: Users, late: int) -> None:
    access = (await users.sign_in()).access_token
    users.clock.now = claims_of(access).exp + late

    assert await refusal_of(users, access) == "invalid_grant"


@pytest.mark.parametrize(
    "scope",
    [
        "orders:read-all",
        "orders:read orders:write-all",
        "orders:read orders:write dead-letters:release",
        "orders",
        "orders:read-",
        "ORDERS:READ",
        "",
        " ",
        "orders:read  orders:write",
        "orders:read\torders:write",
    ],
)
async def test_an_exchange_never_widens_the_scope(users: Users, scope: str) -> None:
    access = (await users.sign_in()).access_token

    assert await refusal_of(users, access, scope=scope) == "invalid_scope"


async def test_an_exchange_keeps_to_the_scope_of_the_token_not_of_the_account(
    users: Users,
) -> None:
    access = (await users.sign_in()).access_token
    narrow = signed_anew(users, access, scope="orders:read")

    assert await refusal_of(users, narrow, scope="orders:write") == "invalid_scope"


async def test_an_exchange_keeps_to_what_the_account_may_do_now(users: Users) -> None:
    access = (await users.sign_in()).access_token
    wide = signed_anew(users, access, scope="orders:read orders:read-all")

    assert await refusal_of(users, wide, scope="orders:read-all") == "invalid_scope"


@pytest.mark.parametrize(
    "audience", ["user-service", "api-gateway", "order-service ", "ORDER-SERVICE", "nobody", ""]
)
async def test_an_exchange_is_only_for_audiences_of_the_statement(
    users: Users, audience: str
) -> None:
    access = (await users.sign_in()).access_token

    assert await refusal_of(users, access, audience=audience) == "invalid_target"


@pytest.mark.parametrize("client", ["order-service", REPORTS, "user-service"])
async def test_a_client_whose_exchanges_do_not_name_the_audience_gets_nothing(
    users: Users, client: str
) -> None:
    access = (await users.sign_in()).access_token

    assert await refusal_of(users, access, client=client) == "invalid_target"


async def test_a_client_cannot_exchange_a_token_that_is_not_for_it(users: Users) -> None:
    """Not even one that may ask for the audience, and not with its user's token in its hands."""
    access = (await users.sign_in()).access_token
    trust = users.realm.trust(reports=Grant(exchanges=frozenset({"order-service"})))
    users.with_trust(trust)

    assert await refusal_of(users, access, client=REPORTS) == "invalid_grant"


@pytest.mark.parametrize("typ", [CARNET, SEAL, CLIENT_ASSERTION, "JWT", "at+JWT", "AT+JWT", "jwt"])
async def test_a_token_of_another_type_is_refused(users: Users, typ: str) -> None:
    access = (await users.sign_in()).access_token

    assert await refusal_of(users, signed_anew(users, access, typ=typ)) == "invalid_grant"


async def test_a_carnet_without_the_seal_it_came_by_is_exchanged_for_nothing(users: Users) -> None:
    carnet = (await exchange(users, (await users.sign_in()).access_token)).carnet

    assert await refusal_of(users, carnet) == "invalid_grant"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "api-gateway"},
        {"iss": "user-service/"},
        {"aud": "order-service"},
        {"aud": ["api-gateway"]},
        {"aud": None},
        {"exp": 2**40},
        {"iat": 2**40 - 900, "exp": 2**40},
        {"sid": None},
        {"sid": "00000000-0000-4000-8000-000000000000"},
        {"sid": 7},
        {"sub": "00000000-0000-4000-8000-000000000000"},
        {"sub": "service:api-gateway"},
        {"sub": "service:reports", "sid": None},
        {"epoch": 0},
        {"epoch": 2},
        {"epoch": "1"},
        {"epoch": None},
        {"scope": ["orders:read"]},
    ],
    ids=str,
)
async def test_an_access_token_with_another_claim_is_refused(
    users: Users, changed: dict[str, Any]
) -> None:
    access = (await users.sign_in()).access_token

    assert await refusal_of(users, signed_anew(users, access, **changed)) == "invalid_grant"


async def test_a_token_with_the_same_claims_is_accepted(users: Users) -> None:
    """So that the refusals before this one are of what was changed."""
    access = (await users.sign_in()).access_token

    assert await exchange(users, signed_anew(users, access))


@pytest.mark.parametrize("signer", ["stranger", "api-gateway", "user-service"])
async def test_only_the_issuers_key_makes_access_tokens(users: Users, signer: str) -> None:
    access = (await users.sign_in()).access_token
    key = users.realm.seals.get(signer, SigningKey.generate())

    assert await refusal_of(users, signed_anew(users, access, key=key)) == "invalid_grant"


@pytest.mark.parametrize("token", ["", "x", "..", "a.b.c", "x" * 8000])
async def test_what_is_no_token_is_refused(users: Users, token: str) -> None:
    assert await refusal_of(users, token) == "invalid_grant"


async def test_an_ended_session_is_exchanged_for_nothing(users: Users) -> None:
    access = (await users.sign_in()).access_token
    await users.handlers.sign_out(SignOut(access_token=access), users.gateway)

    assert await refusal_of(users, access) == "invalid_grant"


async def test_a_disabled_account_is_exchanged_for_nothing(users: Users) -> None:
    access = (await users.sign_in()).access_token
    await users.handlers.accounts.disable(users.operator, "ada")

    assert await refusal_of(users, access) == "invalid_grant"


async def test_a_revoked_session_is_exchanged_for_nothing(users: Users) -> None:
    access = (await users.sign_in()).access_token
    claims = claims_of(access)
    users.handlers.trust.revocations.revoke_session(claims.sid or "", until=claims.exp)

    assert await refusal_of(users, access) == "invalid_grant"


async def test_under_an_expired_statement_nothing_is_judged(users: Users) -> None:
    access = (await users.sign_in()).access_token
    users.clock.now = users.handlers.trust.key_set.expires_at + 1

    with pytest.raises(TrustUnavailableError):
        await exchange(users, access)


async def test_a_service_exchanges_its_own_token_and_seals_in_its_own_name(users: Users) -> None:
    """Work that no user asked for: the carnet has no actor, the service itself is the subject."""
    grant = Grant(exchanges=frozenset({"order-service"}), scopes=frozenset({"orders:read"}))
    trust = users.realm.trust(reports=grant)
    users.with_trust(trust)
    access = service_token(users)

    carnet = parse_claims(
        parse_token((await exchange(users, access, client=REPORTS)).carnet), CarnetClaims
    )

    assert (carnet.sub, carnet.actors, carnet.sid) == ("service:reports", (), None)


async def test_the_gateway_exchanges_a_services_token_as_its_actor(users: Users) -> None:
    carnet = parse_claims(
        parse_token((await exchange(users, service_token(users))).carnet), CarnetClaims
    )

    assert (carnet.sub, carnet.actors) == ("service:reports", ("api-gateway",))


async def test_a_service_that_is_withdrawn_or_may_less_gets_nothing(users: Users) -> None:
    access = service_token(users)
    without_scope = users.realm.trust(reports=Grant())
    users.with_trust(without_scope)
    assert await refusal_of(users, access) == "invalid_scope"

    users.realm.clients = dict(CLIENTS)
    users.with_trust(users.realm.trust())
    assert await refusal_of(users, access) == "invalid_grant"


def service_token(users: Users) -> str:
    return Issuer("user-service", users.realm.issuer_key).access_token(
        subject="service:reports",
        audience="api-gateway",
        client_id="reports",
        scopes=frozenset({"orders:read"}),
        session=None,
        epoch=0,
        auth_time=None,
        now=users.clock(),
    )
