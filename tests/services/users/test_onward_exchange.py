"""The second exchange: a service that received a carnet asks for one to the next service."""

from dataclasses import replace

import pytest

from auth.assertion import sign_assertion
from auth.jws import CARNET, members, parse_claims, sign_token
from auth.keys import SigningKey
from auth.message import Route
from auth.seal import Sealer
from auth.strict import parse_token
from auth.tokens import CarnetClaims
from messaging.rpc import Refused
from services.contracts.clients import CLIENTS, Grant
from services.contracts.users import Exchange, Exchanged
from tests.services.users.realm import Users, as_client

GATEWAY, ORDERS = "api-gateway", "order-service"
BILLING, LEDGER = "billing", "ledger"
PAY = Route("carnet.commands", "billing.pay", "billing.pay.v1")
BOTH = "orders:read orders:write"


@pytest.fixture
def chain(users: Users) -> Users:
    """The gateway may ask billing, billing the order service, and the ledger whomever it likes."""
    gateway = CLIENTS[GATEWAY]
    users.realm.clients = {
        **CLIENTS,
        GATEWAY: replace(
            gateway,
            publishes=gateway.publishes | {PAY.type},
            exchanges=gateway.exchanges | {BILLING},
        ),
        BILLING: Grant(publishes=frozenset({PAY.type}), exchanges=frozenset({ORDERS, LEDGER})),
        LEDGER: Grant(publishes=frozenset({PAY.type}), exchanges=frozenset({ORDERS, BILLING})),
    }
    users.with_trust(users.realm.trust())
    return users


async def received(users: Users, *, scope: str = BOTH) -> str:
    """A carnet of ada's that the gateway has sent to billing."""
    access = (await users.sign_in()).access_token
    request = Exchange(subject_token=access, audience=BILLING, scope=scope)
    return (await users.handlers.exchange_token(request, as_client(GATEWAY))).carnet


def sealed(users: Users, carnet: str, *, by: str = GATEWAY, to: str = BILLING) -> str:
    """The seal of a command that `by` sends to `to` with the carnet."""
    now = users.clock()
    return Sealer(by, users.realm.seals[by]).command(
        route=PAY,
        audience=to,
        message_id="message-000000000000001",
        body=b"{}",
        carnet=carnet,
        now=now,
        expires_at=now + 60,
    )


async def onward(
    users: Users,
    carnet: str,
    seal: str | None = None,
    *,
    by: str = BILLING,
    to: str = ORDERS,
    scope: str = "orders:write",
) -> Exchanged:
    request = Exchange(
        subject_token=carnet, audience=to, scope=scope, seal=seal or sealed(users, carnet)
    )
    return await users.handlers.exchange_token(request, as_client(by))


async def refusal_of(users: Users, carnet: str, seal: str | None = None, **changed: str) -> str:
    with pytest.raises(Refused) as refusal:
        await onward(users, carnet, seal, **changed)
    return refusal.value.code


def claims_of(carnet: str) -> CarnetClaims:
    return parse_claims(parse_token(carnet), CarnetClaims)


async def test_the_receiver_of_a_carnet_acts_for_its_user_at_the_next_service(chain: Users) -> None:
    carnet = await received(chain)
    before = claims_of(carnet)
    chain.clock.now += 100

    exchanged = await onward(chain, carnet)

    claims = claims_of(exchanged.carnet)
    assert (claims.sub, claims.sid, claims.epoch) == (before.sub, before.sid, before.epoch)
    assert (claims.aud, claims.scope) == (ORDERS, "orders:write")
    assert claims.actors == (BILLING, GATEWAY)
    assert claims.exp == before.exp
    assert exchanged.expires_in == claims.exp - claims.iat
    assert claims.jti != before.jti


async def test_the_audit_log_says_through_whom(chain: Users) -> None:
    await onward(chain, await received(chain))

    entry = (await chain.log())[-1]
    assert entry["who"] == claims_of(await received(chain)).sub
    assert (entry["client"], entry["why"]) == (
        BILLING,
        "for order-service, through api-gateway: orders:write",
    )


async def test_a_service_exchanges_no_carnet_that_is_addressed_to_another(chain: Users) -> None:
    """Not although it may ask for the audience, and sees carnet and seal on the broker."""
    assert await refusal_of(chain, await received(chain), by=LEDGER) == "invalid_grant"


async def test_a_service_makes_no_seal_that_would_do(chain: Users) -> None:
    carnet = await received(chain)

    for seal in (
        sealed(chain, carnet, by=LEDGER, to=LEDGER),
        sealed(chain, carnet, by=LEDGER, to=BILLING),
        sealed(chain, carnet, by=BILLING, to=BILLING),
    ):
        assert await refusal_of(chain, carnet, seal, by=LEDGER) == "invalid_grant"
        assert await refusal_of(chain, carnet, seal, by=BILLING) == "invalid_grant"


@pytest.mark.parametrize("scope", ["orders:read-all", BOTH, "orders:read", ""])
async def test_a_further_hop_never_widens_the_scope(chain: Users, scope: str) -> None:
    """The account may do more, and so might the access token: the carnet counts."""
    carnet = await received(chain, scope="orders:write")

    assert await refusal_of(chain, carnet, scope=scope) == "invalid_scope"


async def test_a_further_hop_goes_where_the_statement_says(chain: Users) -> None:
    assert await refusal_of(chain, await received(chain), to="user-service") == "invalid_target"


async def test_an_expired_carnet_goes_no_further(chain: Users) -> None:
    carnet = await received(chain)
    seal = sealed(chain, carnet)
    chain.clock.now = claims_of(carnet).exp

    assert await refusal_of(chain, carnet, seal) == "invalid_grant"


async def test_what_is_from_before_its_time_here_is_told_apart(chain: Users) -> None:
    """Its receiver, whose clock or statement is ahead of ours, asks again."""
    carnet = await received(chain)
    seal = sealed(chain, carnet)
    chain.clock.now -= 60
    assert await refusal_of(chain, carnet, seal) == "not_yet"
    chain.clock.now += 60

    chain.realm.seals[GATEWAY] = SigningKey.generate()
    assert (
        await refusal_of(chain, carnet) == "not_yet"
    )  # its seal is by a key that is still unknown
    assert await onward(chain, carnet, seal)


async def test_a_revoked_carnet_goes_no_further(chain: Users) -> None:
    carnet = await received(chain)
    await chain.handlers.accounts.disable(chain.operator, "ada")

    assert await refusal_of(chain, carnet) == "invalid_grant"


async def hops(users: Users, *names: str) -> str:
    """A carnet that went from billing through these, with the seal of each."""
    carnet, by, through = await received(users), BILLING, GATEWAY
    for name in names:
        seal = sealed(users, carnet, by=through, to=by)
        carnet = (await onward(users, carnet, seal, by=by, to=name)).carnet
        through, by = by, name
    return carnet


async def test_three_act_for_a_user_and_no_fourth(chain: Users) -> None:
    carnet = await hops(chain, LEDGER, BILLING)
    assert claims_of(carnet).actors == (LEDGER, BILLING, GATEWAY)

    seal = sealed(chain, carnet, by=LEDGER, to=BILLING)

    assert await refusal_of(chain, carnet, seal) == "chain_too_long"


async def test_a_chain_with_a_withdrawn_client_goes_no_further(chain: Users) -> None:
    """Nor does what it has led to already: the first to act is the one that was withdrawn."""
    carnet = await hops(chain, LEDGER)
    seal = sealed(chain, carnet, by=BILLING, to=LEDGER)
    assert await onward(chain, carnet, seal, by=LEDGER)

    del chain.realm.clients[GATEWAY]
    chain.with_trust(chain.realm.trust())

    assert await refusal_of(chain, carnet, seal, by=LEDGER) == "invalid_grant"


async def test_no_client_signs_its_own_way_further(chain: Users) -> None:
    genuine = members(claims_of(await received(chain)))
    forged = sign_token(
        {**genuine, "aud": LEDGER, "act": {"sub": LEDGER}},
        typ=CARNET,
        key=chain.realm.seals[LEDGER],
    )
    seal = sealed(chain, forged, by=LEDGER, to=LEDGER)

    assert await refusal_of(chain, forged, seal, by=LEDGER) == "not_yet"  # no key of the issuer's


@pytest.mark.parametrize("by", [GATEWAY, BILLING])
async def test_no_carnet_is_exchanged_by_an_assertion(chain: Users, by: str) -> None:
    """Carnet and seal are its receiver's, who asks for itself."""
    carnet = await received(chain)
    proof = sign_assertion(
        BILLING, chain.realm.seals[BILLING], audience="user-service", now=chain.clock()
    )
    request = Exchange(
        subject_token=carnet,
        audience=ORDERS,
        seal=sealed(chain, carnet),
        client_assertion=proof,
    )

    with pytest.raises(Refused) as refusal:
        await chain.handlers.exchange_token(request, as_client(by))

    assert refusal.value.code == "invalid_request"
