"""A carnet is fetched once, kept, renewed in time, shared by those who wait, and forgotten."""

import asyncio

import pytest

from auth.statements import Revocation
from auth.tokens import AccessClaims
from messaging.rpc import RpcRefusedError
from services.contracts.topology import ORDER_SERVICE
from services.contracts.users import Exchange, Exchanged
from services.gateway.carnets import Caller, Carnets

READ = frozenset({"orders:read"})
WRITE = frozenset({"orders:write"})
SESSION = "session-of-ada-0001"
ADA = "0d3c7a52-2f1b-4a39-9d57-6c1f6e0a7f10"
BOB = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
UNTIL = 100_000


def caller(jti: str = "token-of-ada-00001", session: str = SESSION) -> Caller:
    claims = AccessClaims(
        iss="user-service",
        sub=ADA,
        aud="api-gateway",
        client_id="api-gateway",
        iat=1_000,
        exp=1_900,
        jti=jti,
        scope="orders:read orders:write",
        sid=session,
        epoch=1,
    )
    return Caller(f"the access token {jti}", claims)


class Desk:
    """Hands out numbered carnets that live for 300 s, when the test lets it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.asked: list[Exchange] = []
        self.refusal: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self._arrived = asyncio.Event()

    def clock(self) -> float:
        return self.now

    async def arrived(self) -> None:
        async with asyncio.timeout(5):
            await self._arrived.wait()

    async def __call__(self, request: Exchange) -> Exchanged:
        self.asked.append(request)
        self._arrived.set()
        number = len(self.asked)
        await self.open.wait()
        if self.refusal:
            raise self.refusal
        return Exchanged(carnet=f"carnet {number}", expires_in=300, scope=request.scope or "")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def carnets(desk: Desk) -> Carnets:
    return Carnets(desk, clock=desk.clock, capacity=2)


async def get(carnets: Carnets, who: Caller, scopes: frozenset[str] = READ) -> str:
    async with asyncio.timeout(5):
        return await carnets.carnet(who, audience=ORDER_SERVICE, scopes=scopes)


async def settled(carnets: Carnets) -> None:
    async with asyncio.timeout(5):
        await asyncio.gather(*carnets._running, return_exceptions=True)


async def test_the_issuer_is_asked_once_for_many_requests(carnets: Carnets, desk: Desk) -> None:
    assert {await get(carnets, caller()) for _ in range(5)} == {"carnet 1"}
    assert [request.scope for request in desk.asked] == ["orders:read"]


async def test_requests_at_the_same_time_share_one_exchange(carnets: Carnets, desk: Desk) -> None:
    desk.open.clear()
    waiting = [asyncio.create_task(get(carnets, caller())) for _ in range(10)]
    await desk.arrived()
    desk.open.set()

    assert set(await asyncio.gather(*waiting)) == {"carnet 1"}
    assert len(desk.asked) == 1


async def test_a_request_that_is_cut_off_takes_the_carnet_from_nobody(
    carnets: Carnets, desk: Desk
) -> None:
    desk.open.clear()
    cut_off, waits = (asyncio.create_task(get(carnets, caller())) for _ in range(2))
    await desk.arrived()
    cut_off.cancel()
    desk.open.set()

    assert await waits == "carnet 1"


async def test_scopes_and_tokens_have_carnets_of_their_own(carnets: Carnets) -> None:
    assert await get(carnets, caller(), READ) == "carnet 1"
    assert await get(carnets, caller(), WRITE) == "carnet 2"
    assert await get(carnets, caller("another-token-0001"), WRITE) == "carnet 3"


async def test_a_carnet_is_renewed_at_two_thirds_of_its_life_while_the_old_one_serves(
    carnets: Carnets, desk: Desk
) -> None:
    await get(carnets, caller())
    desk.now += 199
    assert await get(carnets, caller()) == "carnet 1"
    assert len(desk.asked) == 1

    desk.now += 1
    assert await get(carnets, caller()) == "carnet 1"
    await settled(carnets)

    assert await get(carnets, caller()) == "carnet 2"


async def test_an_old_carnet_serves_on_while_the_issuer_is_away(
    carnets: Carnets, desk: Desk
) -> None:
    await get(carnets, caller())
    desk.now += 250
    desk.refusal = TimeoutError()

    assert await get(carnets, caller()) == "carnet 1"
    await settled(carnets)
    assert await get(carnets, caller()) == "carnet 1"

    desk.now += 45  # it would not live long enough to be worth sending
    with pytest.raises(TimeoutError):
        await get(carnets, caller())


async def test_an_issuer_that_refuses_a_renewal_is_believed_at_once(
    carnets: Carnets, desk: Desk
) -> None:
    await get(carnets, caller())
    desk.now += 250
    desk.refusal = RpcRefusedError("invalid_grant", "the session has ended")
    await get(carnets, caller())
    await settled(carnets)

    with pytest.raises(RpcRefusedError):
        await get(carnets, caller())


async def test_a_refusal_is_not_kept(carnets: Carnets, desk: Desk) -> None:
    desk.refusal = RpcRefusedError("invalid_grant", "the session has ended")
    with pytest.raises(RpcRefusedError):
        await get(carnets, caller())
    assert list(carnets._keys) == []
    desk.refusal = None

    assert await get(carnets, caller()) == "carnet 2"


HITS = {
    "its session": Revocation(seq=1, until=UNTIL, sid=SESSION),
    "its subject in a later epoch": Revocation(seq=1, until=UNTIL, sub=ADA, epoch=2),
}
MISSES = {
    "another session": Revocation(seq=1, until=UNTIL, sid="another-session-01"),
    "another subject": Revocation(seq=1, until=UNTIL, sub=BOB, epoch=2),
    "its subject up to its epoch": Revocation(seq=1, until=UNTIL, sub=ADA, epoch=1),
}


@pytest.mark.parametrize("revoked", HITS.values(), ids=HITS)
async def test_what_is_revoked_leaves_nothing_behind(
    carnets: Carnets, desk: Desk, revoked: Revocation
) -> None:
    await get(carnets, caller())
    await get(carnets, caller(), WRITE)
    carnets.forget(revoked)

    assert list(carnets._keys) == []
    assert await get(carnets, caller()) == "carnet 3"
    assert len(desk.asked) == 3


@pytest.mark.parametrize("revoked", MISSES.values(), ids=MISSES)
async def test_what_is_not_revoked_stays(carnets: Carnets, revoked: Revocation) -> None:
    await get(carnets, caller())
    carnets.forget(revoked)

    assert await get(carnets, caller()) == "carnet 1"


@pytest.mark.parametrize("revoked", HITS.values(), ids=HITS)
async def test_what_was_on_its_way_when_it_was_revoked_is_not_kept(
    carnets: Carnets, desk: Desk, revoked: Revocation
) -> None:
    desk.open.clear()
    waiting = asyncio.create_task(get(carnets, caller()))
    await desk.arrived()
    carnets.forget(revoked)
    desk.open.set()
    await waiting

    assert await get(carnets, caller()) == "carnet 2"


async def test_the_least_recently_used_is_dropped_first(carnets: Carnets, desk: Desk) -> None:
    first, second, third = (caller(f"token-of-ada-0000{n}") for n in range(3))
    await get(carnets, first)
    await get(carnets, second)
    await get(carnets, first)
    await get(carnets, third)

    assert await get(carnets, first) == "carnet 1"
    assert await get(carnets, second) == "carnet 4"
    assert len(desk.asked) == 4
    assert len(list(carnets._keys)) == 2  # nothing is kept of those that were dropped


async def test_closing_gives_up_what_is_under_way(carnets: Carnets, desk: Desk) -> None:
    desk.open.clear()
    waiting = asyncio.create_task(get(carnets, caller()))
    await desk.arrived()

    await carnets.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
