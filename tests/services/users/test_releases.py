"""The issuer releases what it has verified, for an operator with the scope, and writes it down."""

from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from auth.errors import Code, RefusalError
from auth.keys import SigningKey
from auth.keyset import KeySet
from auth.message import CARNET_RELEASE, UnverifiedMessage
from auth.policy import at_acceptance, requires
from auth.seal import Sealer
from auth.statement import KeySetDraft
from auth.tokens import Issuer
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.envelope import sealed_headers
from messaging.rpc import Refused
from services.contracts.orders import PATIENCE, PlaceOrder
from services.contracts.scopes import CUSTOMER, OPERATOR, ORDERS_WRITE
from services.contracts.topology import GATEWAY, OPERATOR_DESK, ORDER_SERVICE
from services.contracts.users import DiscardLetter, Exchange, ReleaseLetter
from services.users.acts import insert_new
from services.users.sessions import Ended
from services.users.signing import choose
from services.users.store import AdoptedKeySet, IssuerKey
from tests.services.users.realm import PASSWORD, Users, as_client

BODY = b'{"lines":[{"sku":"tea","quantity":1,"unit_price":"3.20"}],"currency":"EUR"}'
LETTER = "ab" * 32
LIFTED = ("age", "expiry")


@dataclass
class Case:
    """A genuine command of Ada's that came to lie among the dead letters, and its operator."""

    users: Users
    carnet: str
    seal: str
    operator: str

    def request(self, **changes: Any) -> ReleaseLetter:
        asked = {
            "access_token": self.operator,
            "carnet": self.carnet,
            "seal": self.seal,
            "lift": LIFTED,
        }
        return ReleaseLetter.model_validate(asked | changes)

    async def release(self, client: str = OPERATOR_DESK, **changes: Any) -> str:
        handlers = self.users.handlers
        return (await handlers.release_letter(self.request(**changes), as_client(client))).release

    async def discard(self, **changes: Any) -> str | None:
        asked = {"access_token": self.operator, "letter": LETTER, "carnet": self.carnet}
        request = DiscardLetter.model_validate(asked | {"seal": self.seal} | changes)
        answer = await self.users.handlers.discard_letter(request, as_client(OPERATOR_DESK))
        return answer.release

    def message(self, release: str) -> UnverifiedMessage:
        headers = sealed_headers(self.seal, self.carnet) | {CARNET_RELEASE: release}
        return UnverifiedMessage(body=BODY, headers=headers, type=PlaceOrder.route.type)

    def later(self, seconds: float) -> None:
        self.users.clock.now += seconds

    async def last(self) -> dict[str, Any]:
        return (await self.users.log())[-1]


async def _operator(users: Users) -> str:
    await users.parts.accounts.add(users.operator, "grace", PASSWORD, [OPERATOR])
    return (await users.sign_in("grace", OPERATOR_DESK)).access_token


@pytest_asyncio.fixture
async def case(users: Users) -> Case:
    access = (await users.sign_in()).access_token
    asked = Exchange(subject_token=access, audience=ORDER_SERVICE, scope=ORDERS_WRITE)
    carnet = (await users.handlers.exchange_token(asked, users.gateway)).carnet
    now = users.clock()
    seal = Sealer(GATEWAY, users.realm.seals[GATEWAY]).command(
        route=PlaceOrder.route,
        audience=ORDER_SERVICE,
        message_id="0f5b1c2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d",
        body=BODY,
        carnet=carnet,
        now=now,
        expires_at=now + PATIENCE.total_seconds(),
    )
    return Case(users, carnet, seal, await _operator(users))


async def test_a_release_is_believed_by_the_service_whose_message_it_is(case: Case) -> None:
    case.later(5)
    verifier = Verifier(case.users.handlers.trust, audience=ORDER_SERVICE)

    message = verifier.command(
        case.message(await case.release()),
        PlaceOrder.route,
        requires(ORDERS_WRITE),
        at_acceptance(PATIENCE),
        now=case.users.clock(),
    )

    assert message.release is not None
    assert message.release.lift == LIFTED
    assert message.principal is not None
    assert message.principal.has(ORDERS_WRITE)


async def test_who_released_what_and_what_was_lifted_is_in_the_audit_log(case: Case) -> None:
    await case.release()

    entry = await case.last()
    assert (entry["what"], entry["outcome"], entry["client"]) == ("release", "done", OPERATOR_DESK)
    assert entry["why"] == (
        "orders.place.v1 0f5b1c2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d of api-gateway, lifted: age expiry"
    )
    assert entry["whom"] != entry["who"]


async def test_a_customer_releases_nothing(case: Case) -> None:
    case.operator = (await case.users.sign_in("ada", OPERATOR_DESK)).access_token

    with pytest.raises(Refused) as refusal:
        await case.release()
    with pytest.raises(Refused):
        await case.discard()

    assert refusal.value.code == Code.INSUFFICIENT_SCOPE
    assert (await case.last())["outcome"] == "refused"


async def test_who_is_no_operator_any_more_releases_nothing(case: Case) -> None:
    await case.users.parts.accounts.change_roles(case.users.operator, "grace", [CUSTOMER])

    with pytest.raises(Refused, match="invalid_grant"):
        await case.release()


async def test_another_client_releases_nothing_with_an_operators_token(case: Case) -> None:
    with pytest.raises(Refused, match="invalid_grant"):
        await case.release(client=ORDER_SERVICE)


async def test_a_carnet_is_no_access_token_of_an_operator(case: Case) -> None:
    with pytest.raises(Refused, match="invalid_grant"):
        await case.release(access_token=case.carnet)


def _forged(case: Case) -> str:
    """A carnet of nobody's making in the issuer's name."""
    stranger = Issuer("user-service", case.users.realm.seals[GATEWAY])
    access = case.users.handlers.presented.access_token(case.operator, GATEWAY)
    return stranger.carnet(
        access, actor=GATEWAY, audience=ORDER_SERVICE, scopes=access.scopes, now=access.iat
    )


@pytest.mark.parametrize("seal", ["", "a.b.c", "x" * 60_000, "é"])
async def test_what_is_no_seal_is_not_released(case: Case, seal: str) -> None:
    with pytest.raises(RefusalError):
        await case.release(seal=seal)


async def test_what_was_never_genuine_is_not_released(case: Case) -> None:
    with pytest.raises(RefusalError) as refusal:
        await case.release(carnet=_forged(case))
    assert refusal.value.code == Code.UNKNOWN_KEY

    with pytest.raises(RefusalError) as refusal:
        await case.release(carnet=None)
    assert refusal.value.code == Code.SEAL_MISMATCH

    assert (await case.last())["why"] == "seal_mismatch"


async def test_the_session_of_a_user_who_signed_out_is_judged_as_of_now(case: Case) -> None:
    access = case.users.handlers.presented.issued(case.carnet)
    assert access is not None
    assert access.sid is not None
    async with case.users.act() as act:
        await case.users.parts.sessions.end(act, access.sid, Ended.SIGNED_OUT)

    with pytest.raises(RefusalError) as refusal:
        await case.release()
    assert refusal.value.code == Code.REVOKED
    assert await case.release(lift=("age", "expiry", "revocation"))


async def test_a_subject_whose_access_was_ended_is_judged_as_of_now(case: Case) -> None:
    await case.users.parts.accounts.disable(case.users.operator, "ada")

    with pytest.raises(RefusalError) as refusal:
        await case.release()
    assert refusal.value.code == Code.REVOKED


async def test_a_session_that_is_forgotten_counts_as_revoked(case: Case) -> None:
    case.later(31 * 24 * 3600)
    await case.users.parts.sessions.prune()
    case.operator = (await case.users.sign_in("grace", OPERATOR_DESK)).access_token

    with pytest.raises(RefusalError) as refusal:
        await case.release()
    assert refusal.value.code == Code.REVOKED


async def test_a_session_that_only_fell_asleep_is_not_revoked(case: Case) -> None:
    case.later(8 * 24 * 3600)
    case.operator = (await case.users.sign_in("grace", OPERATOR_DESK)).access_token

    assert await case.release()


async def test_an_age_is_not_lifted_unasked(case: Case) -> None:
    case.later(2 * 24 * 3600)
    case.operator = (await case.users.sign_in("grace", OPERATOR_DESK)).access_token

    with pytest.raises(RefusalError) as refusal:
        await case.release(lift=())
    assert refusal.value.code == Code.TOO_OLD


async def _adopt(users: Users, draft: KeySetDraft) -> KeySet:
    """Sign a statement, and have it known to the user service."""
    realm, now = users.realm, int(users.clock())
    key_set = realm.trust_root.verify(draft.sign(realm.root, now=now), now=now)
    async with users.database.transaction() as work:
        adopted = {"version": key_set.version, "issued_at": now, "adopted_at": now}
        work.add(AdoptedKeySet(statement=key_set.statement, **adopted))
    return key_set


async def _replace_key(users: Users, *, retire: bool) -> None:
    """The issuer signs with another key, and the old one is listed no more."""
    realm, now = users.realm, int(users.clock())
    old, new = realm.issuer_key, realm.put(SigningKey.generate())
    draft = realm.draft()
    draft.add_next_key("issuer", new.public)
    if retire:
        draft = KeySetDraft.of(await _adopt(users, draft))
        draft.promote("issuer", new.kid, now=now)
    draft = KeySetDraft.of(await _adopt(users, draft))
    draft.withdraw_key("issuer", old.kid)
    users.with_trust(FixedTrust(await _adopt(users, draft)))
    async with users.database.transaction() as work:
        await insert_new(work, IssuerKey, kid=new.kid, listed_at=now)
        await choose(work, new.kid, now=now)
    users.clock.now += 1


async def test_what_a_key_signed_before_it_was_retired_is_released_when_it_is_listed_no_more(
    case: Case,
) -> None:
    await _replace_key(case.users, retire=True)
    case.operator = (await case.users.sign_in("grace", OPERATOR_DESK)).access_token

    assert await case.release()


async def test_what_a_withdrawn_key_signed_is_not_released(case: Case) -> None:
    await _replace_key(case.users, retire=False)
    case.operator = (await case.users.sign_in("grace", OPERATOR_DESK)).access_token

    with pytest.raises(RefusalError) as refusal:
        await case.release()
    assert refusal.value.code == Code.UNKNOWN_KEY


async def test_a_discard_of_what_is_genuine_is_stated_and_written_down(case: Case) -> None:
    assert await case.discard() is not None

    entry = await case.last()
    assert entry["what"] == "discard"
    assert entry["why"].startswith("letter abababababababab, orders.place.v1 0f5b1c2d")


@pytest.mark.parametrize("seal", [None, "", "a.b.c"])
async def test_a_discard_of_what_is_not_is_written_down_as_well(
    case: Case, seal: str | None
) -> None:
    assert await case.discard(seal=seal) is None

    entry = await case.last()
    assert (entry["what"], entry["outcome"]) == ("discard", "done")
    assert entry["why"] == "letter abababababababab"
