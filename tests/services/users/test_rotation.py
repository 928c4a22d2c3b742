"""The issuer's key: one for all replicas, changed in good time to one that the root has listed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from auth.errors import TrustUnavailableError
from auth.jws import parse_claims
from auth.keys import SigningKey
from auth.statement import KeySetDraft
from auth.strict import parse_token
from auth.tokens import AccessClaims
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.database import Database, open_database
from messaging.migrations import upgrade
from messaging.rpc import Refused
from services.errors import StartError
from services.users.acts import Acts, Asker
from services.users.audit import What, export
from services.users.keyfolder import KeyFolder
from services.users.rotation import (
    KNOWN_AFTER,
    KNOWN_IN_NEED,
    NoNextKeyError,
    Rotation,
    UnknownKeyError,
)
from services.users.signing import FOLLOW, IssuerKeys
from services.users.store import MIGRATIONS
from services.users.trust import IssuerTrust
from tests.services.users.realm import Realm

LIFE = timedelta(days=30)
OPERATOR = Asker("operator:grace")


@dataclass
class Replica:
    """One process of the issuer: its folder, its trust, its view of who signs."""

    trust: IssuerTrust
    keys: IssuerKeys
    acts: Acts
    rotation: Rotation

    async def kid(self) -> str:
        return (await self.keys.signing_key()).kid

    async def token(self, now: float) -> str:
        return (await self.keys.issuer()).access_token(
            subject="service:reports",
            audience="api-gateway",
            client_id="reports",
            scopes=frozenset(),
            session=None,
            epoch=0,
            auth_time=None,
            now=now,
        )


@dataclass
class Issuer:
    """An issuer of several replicas, with an operator who signs statements for it."""

    realm: Realm
    database: Database
    file: Path
    draft: KeySetDraft
    active: SigningKey
    retired: list[str] = field(default_factory=list)

    def lists(self, state: str = "next") -> SigningKey:
        """A new key, listed, and in the folder."""
        key = self.realm.put(SigningKey.generate())
        self.draft.issuer_keys.append({**key.public.to_jwk(), "state": state})
        return key

    def publishes(self) -> None:
        """Sign the draft, and lay it where the replicas read it."""
        self.file.write_text(self.draft.sign(self.realm.root, now=self.realm.clock()))
        self.draft.version += 1

    async def replica(self, folder: Path | None = None, life: timedelta = LIFE) -> Replica:
        clock = self.realm.clock
        trust = IssuerTrust(self.realm.trust_root, self.file, self.database, clock=clock)
        await trust.start()
        held = KeyFolder(folder or self.realm.folder, None, ticks=clock)
        keys = IssuerKeys(held, trust, self.database, clock=clock, ticks=clock)
        acts = Acts(self.database, clock)
        rotation = Rotation(keys, trust, acts, self.database, life=life, clock=clock)
        await keys.begin()
        return Replica(trust, keys, acts, rotation)

    def passes(self, seconds: float) -> None:
        self.realm.clock.now += seconds

    async def log(self) -> list[tuple[str, str, str | None, str | None]]:
        async with self.database.session() as work:
            return [
                (e["outcome"], e["who"], e["whom"], e["why"])
                async for e in export(work)
                if e["what"] == "rotate_key"
            ]


@pytest_asyncio.fixture
async def issuer(database_url: str, realm: Realm, tmp_path: Path) -> AsyncIterator[Issuer]:
    await upgrade(database_url, MIGRATIONS)
    database = open_database(database_url)
    yield Issuer(realm, database, tmp_path / "key-set.jwt", realm.draft(), realm.issuer_key)
    await database.close()


async def rotated(replica: Replica) -> str:
    async with replica.acts.of(OPERATOR, What.ROTATE_KEY) as act:
        return await replica.rotation.rotate(act, why="by hand")


async def retired(replica: Replica, kid: str) -> str:
    async with replica.acts.of(OPERATOR, What.RETIRE_KEY) as act:
        return await replica.rotation.retire(act, kid)


async def hindrance(replica: Replica) -> str:
    with pytest.raises(NoNextKeyError) as refusal:
        await rotated(replica)
    assert refusal.value.code == "no_next_key"
    return refusal.value.detail


async def test_at_first_the_listed_active_key_signs(issuer: Issuer) -> None:
    issuer.lists("next")
    issuer.publishes()

    replica = await issuer.replica()

    assert await replica.kid() == issuer.active.kid
    assert replica.keys.ready


async def test_replicas_that_begin_at_once_agree(issuer: Issuer) -> None:
    issuer.publishes()

    replicas = await asyncio.gather(*(issuer.replica() for _ in range(5)))

    assert {await replica.kid() for replica in replicas} == {issuer.active.kid}


async def test_a_rotation_moves_every_replica_to_the_next_key(issuer: Issuer) -> None:
    following = issuer.lists()
    issuer.publishes()
    one, two = await issuer.replica(), await issuer.replica()
    assert await two.kid() == issuer.active.kid
    issuer.passes(KNOWN_AFTER)

    assert await rotated(one) == following.kid

    assert await one.kid() == following.kid
    issuer.passes(FOLLOW)
    assert await two.kid() == following.kid
    assert await issuer.log() == [("done", "operator:grace", following.kid, "by hand")]


async def test_what_old_and_new_key_sign_is_believed_by_who_has_the_statement(
    issuer: Issuer,
) -> None:
    issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()
    now = issuer.realm.clock.now = issuer.realm.clock() + KNOWN_AFTER
    old = await replica.token(now)
    await rotated(replica)
    new = await replica.token(now)

    verifier = Verifier(FixedTrust(replica.trust.key_set), audience="api-gateway")

    assert parse_token(old).unverified_header["kid"] != parse_token(new).unverified_header["kid"]
    for token in (old, new):
        assert verifier.access_token(token, now=now) == parse_claims(
            parse_token(token), AccessClaims
        )


async def test_keys_follow_in_the_order_in_which_they_are_listed_and_never_return(
    issuer: Issuer,
) -> None:
    following = [issuer.lists().kid for _ in range(4)]
    issuer.publishes()
    replica = await issuer.replica()
    issuer.passes(KNOWN_AFTER)

    signed = [await rotated(replica) for _ in range(4)]

    assert signed == following
    assert "carnet trust rotate issuer" in await hindrance(replica)
    assert await replica.kid() == following[-1]


async def test_a_key_that_was_listed_just_now_does_not_sign_yet(issuer: Issuer) -> None:
    issuer.publishes()
    replica = await issuer.replica()
    issuer.passes(1000)
    issuer.lists()
    issuer.publishes()
    await replica.trust.start()
    issuer.passes(KNOWN_AFTER - 1)

    assert "less than 30 s ago" in await hindrance(replica)

    issuer.passes(1)
    assert await rotated(replica)


async def test_a_key_is_known_from_its_first_statement_on(issuer: Issuer) -> None:
    """A new statement that lists it again does not make it wait again."""
    following = issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()
    issuer.passes(KNOWN_AFTER)
    issuer.publishes()
    await replica.trust.start()

    assert await rotated(replica) == following.kid


async def test_without_its_private_key_the_next_one_does_not_sign(issuer: Issuer) -> None:
    key = SigningKey.generate()
    issuer.draft.add_issuer_key(key.public, "next")
    issuer.publishes()
    replica = await issuer.replica()
    issuer.passes(KNOWN_AFTER)

    assert f"the private key of {key.kid} is not in" in await hindrance(replica)

    issuer.realm.put(key)
    assert await rotated(replica) == key.kid


async def test_a_key_file_that_cannot_be_used_is_no_key(issuer: Issuer) -> None:
    key = SigningKey.generate()
    issuer.draft.add_issuer_key(key.public, "next")
    issuer.publishes()
    replica = await issuer.replica()
    issuer.passes(KNOWN_AFTER)
    issuer.realm.put(key)
    (issuer.realm.folder / f"{key.kid}.pem").chmod(0o644)

    assert "is not in" in await hindrance(replica)


async def test_of_two_rotations_at_once_each_moves_one_step_or_is_told(issuer: Issuer) -> None:
    for _ in range(4):
        issuer.lists()
    issuer.publishes()
    replicas = [await issuer.replica() for _ in range(4)]
    issuer.passes(KNOWN_AFTER)

    outcomes = await asyncio.gather(
        *(rotated(replica) for replica in replicas), return_exceptions=True
    )

    done = [outcome for outcome in outcomes if isinstance(outcome, str)]
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(set(done)) == len(done) >= 1
    assert refused == ["rotated_meanwhile"] * (4 - len(done))


async def test_a_next_key_that_is_retired_is_passed_over_by_every_replica(issuer: Issuer) -> None:
    """By hand, by schedule, and where the root says later that it is the active one."""
    skipped, following, last = (issuer.lists().kid for _ in range(3))
    issuer.publishes()
    one, two = await issuer.replica(), await issuer.replica()
    issuer.passes(KNOWN_AFTER)

    assert await retired(one, skipped) == issuer.active.kid

    assert await one.kid() == await two.kid() == issuer.active.kid
    issuer.draft.promote("issuer", skipped, now=issuer.realm.clock(), grace=3600)
    issuer.publishes()
    for replica in (one, two):
        await replica.trust.start()
    await two.rotation.rotate_if_due()
    assert await two.kid() == following
    assert await rotated(two) == last
    assert "carnet trust rotate issuer" in await hindrance(one)


async def test_a_key_may_be_retired_before_it_may_sign(issuer: Issuer) -> None:
    following = issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()

    await retired(replica, following.kid)

    issuer.passes(KNOWN_AFTER)
    await hindrance(replica)
    view = {view.kid: view for view in await replica.rotation.view()}[following.kid]
    assert (view.since, view.retired_at) == (None, int(issuer.realm.clock()) - KNOWN_AFTER)


async def test_where_the_key_that_signs_is_retired_the_next_one_takes_over_first(
    issuer: Issuer,
) -> None:
    following = issuer.lists()
    issuer.publishes()
    one, two = await issuer.replica(), await issuer.replica()
    with pytest.raises(NoNextKeyError, match="less than 30 s ago"):
        await retired(one, issuer.active.kid)
    assert await one.kid() == issuer.active.kid
    issuer.passes(KNOWN_AFTER)

    assert await retired(one, issuer.active.kid) == following.kid

    assert await one.kid() == following.kid
    issuer.passes(FOLLOW)
    assert await two.kid() == following.kid
    with pytest.raises(NoNextKeyError):
        await retired(two, following.kid)
    assert await two.kid() == following.kid


async def test_what_a_retired_key_has_signed_is_believed_as_before(issuer: Issuer) -> None:
    issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()
    now = issuer.realm.clock.now = issuer.realm.clock() + KNOWN_AFTER
    token = await replica.token(now)

    await retired(replica, issuer.active.kid)

    verifier = Verifier(FixedTrust(replica.trust.key_set), audience="api-gateway")
    assert verifier.access_token(token, now=now)


async def test_a_key_that_has_ceased_to_sign_keeps_its_time_when_it_is_retired(
    issuer: Issuer,
) -> None:
    following = issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()
    issuer.passes(KNOWN_AFTER)
    await rotated(replica)
    ceased = int(issuer.realm.clock())
    issuer.passes(100)

    assert await retired(replica, issuer.active.kid) == following.kid

    view = {view.kid: view for view in await replica.rotation.view()}[issuer.active.kid]
    assert view.retired_at == ceased


async def test_of_a_rotation_and_the_retirement_of_its_key_at_once_only_one_has_its_way(
    issuer: Issuer,
) -> None:
    """Whichever comes first: no key signs that an operator was told will not."""
    following = issuer.lists()
    issuer.lists()
    issuer.publishes()
    replicas = [await issuer.replica() for _ in range(2)]
    issuer.passes(KNOWN_AFTER)

    outcomes = await asyncio.gather(
        rotated(replicas[0]), retired(replicas[1], following.kid), return_exceptions=True
    )

    issuer.passes(FOLLOW)
    signing = await replicas[0].kid()
    told = outcomes[1]
    assert isinstance(told, str) == (signing != following.kid)
    if not isinstance(told, str):
        assert isinstance(told, Refused)
        assert told.code == "rotated_meanwhile"


async def test_a_key_that_never_was_listed_cannot_be_retired(issuer: Issuer) -> None:
    issuer.publishes()
    replica = await issuer.replica()

    for kid in (SigningKey.generate().kid, "", "\x00"):
        with pytest.raises(UnknownKeyError):
            await retired(replica, kid)

    assert await replica.kid() == issuer.active.kid


async def test_by_schedule_the_key_changes_after_its_life_and_once(issuer: Issuer) -> None:
    following = [issuer.lists().kid for _ in range(3)]
    issuer.publishes()
    replicas = [await issuer.replica() for _ in range(3)]
    issuer.passes(LIFE.total_seconds() - 1)
    await replicas[0].rotation.rotate_if_due()
    assert await replicas[0].kid() == issuer.active.kid

    issuer.passes(1)
    await asyncio.gather(*(replica.rotation.rotate_if_due() for replica in replicas))

    assert [await replica.kid() for replica in replicas] == [following[0]] * 3
    done = [entry for entry in await issuer.log() if entry[0] == "done"]
    assert done == [("done", "service:user-service", following[0], "schedule")]


async def test_a_life_of_zero_is_no_schedule(issuer: Issuer) -> None:
    issuer.lists()
    issuer.publishes()
    replica = await issuer.replica(life=timedelta(0))
    issuer.passes(2 * LIFE.total_seconds())

    await replica.rotation.rotate_if_due()

    assert await replica.kid() == issuer.active.kid


async def test_when_it_is_time_and_no_key_is_listed_the_old_one_goes_on(issuer: Issuer) -> None:
    """It is not written down each second, either."""
    issuer.publishes()
    replica = await issuer.replica()
    issuer.passes(LIFE.total_seconds() + 1)

    for _ in range(3):
        await replica.rotation.rotate_if_due()

    assert await replica.kid() == issuer.active.kid
    assert await issuer.log() == []


async def test_a_withdrawn_key_signs_nothing_more_and_the_next_takes_over(
    issuer: Issuer,
) -> None:
    following = issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()
    assert await replica.kid() == issuer.active.kid
    issuer.passes(5)
    issuer.draft.withdraw_key("issuer", issuer.active.kid)
    issuer.publishes()

    await replica.trust.start()

    assert not replica.keys.ready
    with pytest.raises(TrustUnavailableError, match="listed no more"):
        await replica.kid()
    await replica.rotation.rotate_if_due()
    assert await replica.kid() == following.kid
    assert (await issuer.log())[-1][3] == "withdrawn"


async def test_in_need_a_key_waits_for_no_more_than_a_moment(issuer: Issuer) -> None:
    """Its successor came with the statement that withdrew it."""
    issuer.publishes()
    replica = await issuer.replica()
    issuer.draft.withdraw_key("issuer", issuer.active.kid)
    following = issuer.lists("active")
    issuer.publishes()
    await replica.trust.start()
    await replica.rotation.rotate_if_due()
    with pytest.raises(TrustUnavailableError):
        await replica.kid()

    issuer.passes(KNOWN_IN_NEED)
    await replica.rotation.rotate_if_due()

    assert await replica.kid() == following.kid


async def test_a_key_that_the_root_retires_is_replaced_before_it_may_sign_no_more(
    issuer: Issuer,
) -> None:
    following = issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()
    issuer.draft.promote("issuer", following.kid, now=issuer.realm.clock(), grace=3600)
    issuer.publishes()
    await replica.trust.start()
    await replica.rotation.rotate_if_due()
    assert await replica.kid() == issuer.active.kid

    issuer.passes(KNOWN_AFTER)
    await replica.rotation.rotate_if_due()

    assert await replica.kid() == following.kid


async def test_past_its_retirement_a_key_signs_nothing(issuer: Issuer) -> None:
    issuer.publishes()
    replica = await issuer.replica()
    other = SigningKey.generate()
    issuer.draft.add_issuer_key(other.public, "next")  # whose private key is elsewhere
    issuer.draft.promote("issuer", other.kid, now=issuer.realm.clock(), grace=60)
    issuer.publishes()
    await replica.trust.start()
    assert await replica.kid() == issuer.active.kid

    issuer.passes(61)

    with pytest.raises(TrustUnavailableError):
        await replica.kid()


async def test_a_replica_without_the_key_signs_nothing_until_it_has_it(
    issuer: Issuer, tmp_path: Path
) -> None:
    following = issuer.lists()
    issuer.publishes()
    own = tmp_path / "another-folder"
    issuer.active.save(own / "active.pem", None)
    one, two = await issuer.replica(), await issuer.replica(folder=own)
    assert await two.kid() == issuer.active.kid
    issuer.passes(KNOWN_AFTER)
    await rotated(one)
    issuer.passes(FOLLOW)

    with pytest.raises(TrustUnavailableError, match="is not in"):
        await two.kid()
    assert not two.keys.ready

    following.save(own / "following.pem", None)
    issuer.passes(1)
    assert await two.kid() == following.kid
    assert two.keys.ready


async def test_without_the_key_that_is_to_sign_it_does_not_start(
    issuer: Issuer, tmp_path: Path
) -> None:
    issuer.publishes()
    await issuer.replica()

    replica = await issuer.replica(folder=tmp_path / "nothing-here")

    with pytest.raises(StartError, match="carnet keys list"):
        await replica.keys.require()


async def test_without_an_active_key_it_does_not_begin(issuer: Issuer, tmp_path: Path) -> None:
    issuer.publishes()

    with pytest.raises(StartError, match="no key here is listed as the issuer's active key"):
        await issuer.replica(folder=tmp_path / "nothing-here")


async def test_the_view_shows_each_key_with_its_time(issuer: Issuer) -> None:
    following, last = issuer.lists(), issuer.lists()
    issuer.publishes()
    replica = await issuer.replica()
    began = int(issuer.realm.clock())
    issuer.passes(KNOWN_AFTER)
    await rotated(replica)
    issuer.draft.withdraw_key("issuer", issuer.active.kid)
    issuer.publishes()
    await replica.trust.start()
    (issuer.realm.folder / f"{last.kid}.pem").unlink()
    replica = await issuer.replica()

    views = {view.kid: view for view in await replica.rotation.view()}

    old, new, unused = views[issuer.active.kid], views[following.kid], views[last.kid]
    changed = began + KNOWN_AFTER
    assert (old.state, old.since, old.retired_at, old.signing) == (None, began, changed, False)
    assert (new.state, new.since, new.retired_at, new.signing) == ("next", changed, None, True)
    assert (unused.state, unused.since, unused.here) == ("next", None, False)
    assert (old.here, new.here) == (True, True)
