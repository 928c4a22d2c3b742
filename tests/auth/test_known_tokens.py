"""A token that was found genuine before is believed no more than one that is read anew.

Every verifier here has seen the token before the world changes, and knows it: what it gives is the
very object that it gave before. Beside it a verifier that has seen nothing says what is right.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Self

import pytest

from auth.claims import LEEWAY
from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.jws import CARNET, parse_claims
from auth.keyset import KeySet
from auth.known import REMEMBERED, KnownTokens
from auth.policy import requires
from auth.release import ReleaseClaims
from auth.seal import digest
from auth.signers import Signers
from auth.statement import ISSUER as ISSUERS_KEYS
from auth.statement import KeySetDraft
from auth.strict import MAX_TOKEN, parse_token
from auth.tokens import AccessClaims, CarnetClaims
from auth.trust import FixedTrust
from auth.verifier import Verifier
from tests.auth.forge import (
    ALICE,
    GATEWAY,
    ISSUER,
    NOW,
    ORDERS,
    REPORTS,
    SESSION,
    Scene,
    Token,
    access_token,
    carnet,
    command_scene,
    parties,
    release,
)
from tests.auth.test_commands import ROWS

WHO = parties()


class Trust(FixedTrust):
    """A feed that can fall silent."""

    silent = False

    def require_fresh(self, now: float) -> None:
        if self.silent:
            raise TrustUnavailableError("silent")
        super().require_fresh(now)


@dataclass
class World:
    """What is judged by, at what time, and a verifier that has been there for a while."""

    token: Token
    trust: Trust = field(default_factory=lambda: Trust(WHO.key_set()))
    now: float = NOW
    kind: type[AccessClaims | CarnetClaims] = CarnetClaims
    audience: str = ORDERS

    def __post_init__(self) -> None:
        self.verifier = self.newcomer()
        self.text = self.token.text

    def newcomer(self) -> Verifier:
        """One that has seen nothing yet."""
        return Verifier(self.trust, audience=self.audience)

    def judge(self, text: str | None = None, *, anew: bool = False) -> AccessClaims | CarnetClaims:
        """What is said of the token, or of another text, as a token of this kind."""
        verifier = self.newcomer() if anew else self.verifier
        read = verifier.carnet if self.kind is CarnetClaims else verifier.access_token
        return read(self.text if text is None else text, now=self.now)

    def refusal(self, text: str | None = None) -> str:
        """Why: the verifier that knows the token must say what the newcomer does."""
        with pytest.raises(RefusalError) as anew:
            self.judge(text, anew=True)
        with pytest.raises(RefusalError) as known:
            self.judge(text)
        assert (known.value.code, known.value.detail) == (anew.value.code, anew.value.detail)
        return known.value.code

    def believe(self, edit: Callable[[KeySetDraft], object]) -> KeySet:
        """Another statement counts from now on."""
        draft = KeySetDraft.of(self.trust.key_set)
        edit(draft)
        self.trust.key_set = WHO.key_set(draft)
        return self.trust.key_set


def _of_carnet() -> World:
    return World(carnet())


def _of_access_token() -> World:
    return World(access_token(), kind=AccessClaims, audience=GATEWAY)


def _known(world: World) -> World:
    """It knows its token: the second reading gives what the first one made."""
    assert world.judge() is world.judge()
    return world


@pytest.fixture(params=[_of_carnet, _of_access_token], ids=["carnet", "access token"])
def world(request: pytest.FixtureRequest) -> World:
    return _known(request.param())


def test_it_is_counted_how_often_a_token_was_known(world: World) -> None:
    """Twice read, of which the first time was the first; and another one, which is no use."""
    with pytest.raises(RefusalError):
        world.judge(f"{world.text}A")

    assert (world.verifier.known.recalled, world.verifier.known.missed) == (1, 2)


def test_what_is_known_says_what_is_read(world: World) -> None:
    assert world.judge() is not world.judge(anew=True)
    assert world.judge() == world.judge(anew=True)
    assert world.judge().principal == world.judge(anew=True).principal


# What changes while it is known


def _expired(world: World) -> None:
    world.now = world.judge().exp + LEEWAY + 1


def _clock_set_back(world: World) -> None:
    world.now = NOW - LEEWAY - 1


def _session_ended(world: World) -> None:
    world.trust.revocations.revoke_session(SESSION, until=NOW + 90_000)


def _subject_ended(world: World) -> None:
    world.trust.revocations.revoke_subject(ALICE, epoch=4, until=NOW + 90_000)


def _client_withdrawn(world: World) -> None:
    world.believe(lambda draft: draft.clients.pop(GATEWAY))


def _issuers_key_withdrawn(world: World) -> None:
    world.believe(lambda draft: draft.withdraw_key(ISSUERS_KEYS, WHO.issuer.kid))


def _issuers_key_retired(world: World) -> None:
    world.believe(lambda draft: draft.promote(ISSUERS_KEYS, WHO.issuer_next.kid, now=NOW - 1))


def _key_withdrawn_in_the_same_version(world: World) -> None:
    """No feed would take that in; whoever does is not to go on with what was found before."""

    def edit(draft: KeySetDraft) -> None:
        draft.version -= 1
        draft.withdraw_key(ISSUERS_KEYS, WHO.issuer.kid)

    version = world.trust.key_set.version
    assert world.believe(edit).version == version


def _issuer_renamed(world: World) -> None:
    def rename(draft: KeySetDraft) -> None:
        draft.issuer = "another"

    world.believe(rename)


CHANGES = [
    (_expired, Code.EXPIRED),
    (_clock_set_back, Code.NOT_YET_VALID),
    (_session_ended, Code.REVOKED),
    (_subject_ended, Code.REVOKED),
    (_client_withdrawn, Code.REVOKED),
    (_issuers_key_withdrawn, Code.UNKNOWN_KEY),
    (_issuers_key_retired, Code.KEY_RETIRED),
    (_key_withdrawn_in_the_same_version, Code.UNKNOWN_KEY),
    (_issuer_renamed, Code.WRONG_ISSUER),
]


@pytest.mark.parametrize(
    ("change", "code"), CHANGES, ids=[change.__name__.strip("_") for change, _ in CHANGES]
)
def test_a_known_token_is_refused_after(
    world: World, change: Callable[[World], None], code: Code
) -> None:
    change(world)

    assert world.refusal() == code
    assert world.refusal() == code


def test_a_known_token_waits_while_the_feed_is_silent(world: World) -> None:
    world.trust.silent = True
    for _ in range(2):
        with pytest.raises(TrustUnavailableError):
            world.judge()

    world.trust.silent = False
    assert world.judge()


def test_a_known_token_is_not_judged_by_an_expired_statement(world: World) -> None:
    world.now = world.trust.key_set.expires_at + 1

    with pytest.raises(TrustUnavailableError):
        world.judge()


def test_under_an_expired_statement_what_has_no_form_is_refused_as_ever(world: World) -> None:
    """Its keys are asked for at check 5, which it never comes to."""
    world.now = world.trust.key_set.expires_at + 1

    assert world.refusal("x") == Code.MALFORMED_TOKEN
    assert world.refusal(world.text + "é") == Code.MALFORMED_TOKEN
    assert world.refusal("A" * (MAX_TOKEN + 1)) == Code.OVERSIZED_TOKEN


def test_under_another_key_set_it_is_read_anew_and_then_known_again(world: World) -> None:
    """Also where the key was retired, after it signed this, or the statement says the same."""
    before = world.judge()

    world.trust.key_set = WHO.key_set()
    same = world.judge()
    world.believe(lambda draft: draft.promote(ISSUERS_KEYS, WHO.issuer_next.kid, now=NOW))
    retired = world.judge()

    assert before == same == retired
    assert len({id(before), id(same), id(retired)}) == 3
    assert world.judge() is retired


def test_a_statement_that_comes_back_brings_nothing_back(world: World) -> None:
    """What was known under it was forgotten with it."""
    first, before = world.trust.key_set, world.judge()
    world.believe(lambda draft: draft.promote(ISSUERS_KEYS, WHO.issuer_next.kid, now=NOW))
    world.judge()

    world.trust.key_set = first

    assert world.judge() is not before


# What is no such token


def test_a_known_token_with_one_character_changed_is_another_one(world: World) -> None:
    for place, character in enumerate(world.text):
        other = "B" if character == "A" else "A"
        changed = world.text[:place] + other + world.text[place + 1 :]
        with pytest.raises(RefusalError):
            world.judge(changed)
        with pytest.raises(RefusalError):
            world.judge(changed)

    assert _known(world)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda text: text + "=", Code.MALFORMED_TOKEN, id="a padding"),
        pytest.param(lambda text: text + "\n", Code.MALFORMED_TOKEN, id="a line more"),
        pytest.param(lambda text: " " + text, Code.MALFORMED_TOKEN, id="a blank ahead"),
        pytest.param(lambda text: text + ".", Code.MALFORMED_TOKEN, id="a part more"),
        pytest.param(lambda text: text[:-1], Code.MALFORMED_TOKEN, id="a character less"),
        pytest.param(lambda text: text + "é", Code.MALFORMED_TOKEN, id="a letter beyond ASCII"),
        pytest.param(lambda text: text + "\ud800", Code.MALFORMED_TOKEN, id="half a surrogate"),
        pytest.param(lambda text: text + "\0", Code.MALFORMED_TOKEN, id="a NUL"),
        pytest.param(
            lambda text: text.replace("A", "\uff21", 1),
            Code.MALFORMED_TOKEN,
            id="a full-width letter",
        ),
        pytest.param(
            lambda text: text + "A" * (MAX_TOKEN + 1 - len(text)),
            Code.OVERSIZED_TOKEN,
            id="a length beyond what is read",
        ),
    ],
)
def test_a_known_token_is_refused_with(
    world: World, change: Callable[[str], str], code: Code
) -> None:
    assert world.refusal(change(world.text)) == code
    assert world.refusal(change(world.text)) == code


def test_a_genuine_token_that_is_too_long_never_becomes_known(world: World) -> None:
    text = world.token.but(more="x" * MAX_TOKEN).text

    for _ in range(2):
        assert world.refusal(text) == Code.OVERSIZED_TOKEN


def test_a_known_carnet_is_no_access_token() -> None:
    carnets = _known(World(carnet().but(aud=GATEWAY), audience=GATEWAY))
    tokens = replace(carnets, kind=AccessClaims)
    tokens.verifier = carnets.verifier

    for _ in range(2):
        assert tokens.refusal(carnets.text) == Code.WRONG_TYPE
    assert _known(carnets)


def test_a_known_access_token_is_no_carnet() -> None:
    tokens = _known(_of_access_token())
    carnets = replace(tokens, kind=CarnetClaims)
    carnets.verifier = tokens.verifier

    for _ in range(2):
        assert carnets.refusal(tokens.text) == Code.WRONG_TYPE
    assert _known(tokens)


def test_a_known_release_is_no_carnet() -> None:
    """It has all that a carnet says, and more."""
    signers = Signers(FixedTrust(WHO.key_set()))
    text = release().but(seal=digest(b"a seal")).text
    known = signers.issued(text, ReleaseClaims, now=NOW)

    with pytest.raises(RefusalError) as refusal:
        signers.issued(text, CarnetClaims, now=NOW)

    assert refusal.value.code == Code.WRONG_TYPE
    assert signers.issued(text, ReleaseClaims, now=NOW) is known


def test_what_tokens_say_alike_is_one_object_for_all() -> None:
    verifier = Verifier(FixedTrust(WHO.key_set()), audience=ORDERS)
    one, other = (
        verifier.carnet(carnet().but(jti=f"carnet-{number:016}").text, now=NOW)
        for number in range(2)
    )

    assert one != other
    assert all(
        getattr(one, name) is getattr(other, name)
        for name in ("iss", "aud", "scope", "act", "scopes", "actors")
    )


def test_a_token_for_another_receiver_is_refused_however_often_it_comes(world: World) -> None:
    """It is genuine, and so it is known; whom it is for is judged at every use."""
    other = world.token.but(aud=REPORTS).text

    for _ in range(3):
        assert world.refusal(other) == Code.WRONG_AUDIENCE


def test_what_one_verifier_knows_another_one_does_not() -> None:
    """Each has its own: none is believed on the word of another, whose keys may be others."""
    here = _known(_of_carnet())
    stranger = replace(here, trust=Trust(parties("EdDSA").key_set()))

    for _ in range(2):
        assert stranger.refusal(here.text) == Code.UNKNOWN_KEY


# Commands


@dataclass(frozen=True)
class _Written(Token):
    """A token that was signed once: ECDSA would give another text each time."""

    written: str = ""

    @classmethod
    def of(cls, token: Token) -> Self:
        return cls(token.claims, token.typ, token.key, written=token.text)

    @property
    def text(self) -> str:
        return self.written


def _verifier(scene: Scene) -> Verifier:
    return Verifier(FixedTrust(scene.key_set, scene.revocations), audience=scene.audience)


def _command(verifier: Verifier, scene: Scene) -> str | None:
    """Why the scene's message is refused, if it is."""
    try:
        verifier.command(scene.message(), scene.route, scene.policy, scene.expiry, now=scene.now)
    except RefusalError as refusal:
        return refusal.code
    return None


def test_a_known_carnet_has_no_scope_but_its_own() -> None:
    scene = replace(command_scene(), carnet=_Written.of(carnet()))
    verifier = _verifier(scene)

    assert _command(verifier, scene) is None
    for _ in range(2):
        more = replace(scene, policy=requires("orders:write", "orders:admin"))
        assert _command(verifier, more) == Code.INSUFFICIENT_SCOPE


@pytest.mark.parametrize(
    ("code", "name"), [(code, name) for code, rows in ROWS.items() for name in rows]
)
def test_what_is_refused_is_refused_again_by_who_knows_the_carnet(code: Code, name: str) -> None:
    """Every row of test_commands.py, of which each carnet comes twice in the very same message."""
    scene = ROWS[code][name](command_scene())
    verifier = _verifier(scene)
    message = scene.message()
    told = []

    for _ in range(3):
        with pytest.raises(RefusalError) as refusal:
            verifier.command(message, scene.route, scene.policy, scene.expiry, now=scene.now)
        told.append((refusal.value.code, refusal.value.detail, refusal.value.authenticated))

    assert told[0][0] == code
    assert told == told[:1] * 3


def test_a_known_carnet_seals_for_nobody_else() -> None:
    """Its thief seals with a key that is listed, and another client's."""
    scene = replace(command_scene(), carnet=_Written.of(carnet()))
    verifier = _verifier(scene)
    assert _command(verifier, scene) is None

    thiefs = replace(scene, seal=scene.seal.but(iss=REPORTS).with_key(WHO.reports))
    forged = replace(scene, seal=scene.seal.with_key(WHO.stranger).with_header(kid=WHO.gateway.kid))

    assert _command(verifier, thiefs) == Code.WRONG_CLIENT
    assert _command(verifier, forged) == Code.BAD_SIGNATURE
    assert _command(verifier, scene.with_seal(ath=digest(b"another"))) == Code.SEAL_MISMATCH


@pytest.mark.parametrize("kind", ["a carnet", "an access token"])
def test_a_known_token_is_no_release_and_no_seal(kind: str) -> None:
    token = carnet() if kind == "a carnet" else access_token().but(aud=ORDERS)
    scene = command_scene()
    verifier = _verifier(scene)
    text = token.text
    read = verifier.carnet if kind == "a carnet" else verifier.access_token
    assert read(text, now=NOW) is read(text, now=NOW)

    released = replace(scene, headers={"carnet-release": text})
    sealed = replace(scene, headers={"carnet-seal": text})

    assert _command(verifier, released) == Code.RELEASE_REFUSED
    assert _command(verifier, sealed) == Code.WRONG_TYPE


# What is remembered


REFUSED = {
    "a stranger signed in its key's name": (
        carnet().with_key(WHO.stranger).with_header(kid=WHO.issuer.kid),
        Code.BAD_SIGNATURE,
    ),
    "a client signed": (carnet().with_key(WHO.gateway), Code.UNKNOWN_KEY),
    "a key signed after its retirement": (carnet().with_key(WHO.issuer_retired), Code.KEY_RETIRED),
    "says too little": (carnet().but(sid=None), Code.MALFORMED_CLAIMS),
    "has a header too many": (carnet().with_header(jku="https://example.org"), "malformed_header"),
    "is of another kind": (access_token(), Code.WRONG_TYPE),
    "names another algorithm": (carnet().with_header(alg="RS256"), Code.KEY_MISMATCH),
    "is too long": (carnet().but(more="x" * MAX_TOKEN), Code.OVERSIZED_TOKEN),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_is_remembered_that(what: str) -> None:
    token, code = REFUSED[what]
    signers = Signers(FixedTrust(WHO.key_set()))
    text = token.text

    for _ in range(2):
        with pytest.raises(RefusalError) as refusal:
            signers.issued(text, CarnetClaims, now=NOW)
        assert refusal.value.code == code

    assert len(signers.known) == 0


def test_no_seal_is_remembered() -> None:
    """Each comes once."""
    scene = command_scene()
    signers = Signers(FixedTrust(scene.key_set))
    seal = str(scene.message().headers["carnet-seal"])

    assert signers.sealed(seal, now=NOW) is not signers.sealed(seal, now=NOW)
    assert len(signers.known) == 0


def _claims() -> Iterator[tuple[str, CarnetClaims]]:
    """Genuine carnets and their hashes, without end."""
    number = 0
    while True:
        text = carnet().but(jti=f"carnet-{number:016}").text
        yield digest(text.encode()), parse_claims(parse_token(text), CarnetClaims)
        number += 1


def test_the_latest_used_are_remembered_and_no_more() -> None:
    known, key_set = KnownTokens(remembered=2), WHO.key_set()
    (a, claims_a), (b, claims_b), (c, claims_c) = islice(_claims(), 3)

    known.remember(a, claims_a, key_set)
    known.remember(b, claims_b, key_set)
    assert known.recall(CarnetClaims, a, key_set) is claims_a
    known.remember(c, claims_c, key_set)

    assert len(known) == 2
    assert known.recall(CarnetClaims, b, key_set) is None
    assert known.recall(CarnetClaims, a, key_set) is claims_a
    assert known.recall(CarnetClaims, c, key_set) is claims_c


def test_what_is_remembered_belongs_to_one_key_set() -> None:
    """So no key set that was replaced is held by what was found under it."""
    known, old, new = KnownTokens(), WHO.key_set(), WHO.key_set()
    (a, claims_a), (b, claims_b) = islice(_claims(), 2)
    known.remember(a, claims_a, old)

    assert known.recall(CarnetClaims, a, new) is None
    known.remember(b, claims_b, new)

    assert len(known) == 1
    assert known.recall(CarnetClaims, a, old) is None
    assert known.recall(CarnetClaims, b, new) is claims_b


def test_a_verifier_forgets_what_it_used_longest_ago() -> None:
    signers = Signers(FixedTrust(WHO.key_set()))
    signers.known = KnownTokens(remembered=3)
    texts = [carnet().but(jti=f"carnet-{number:016}").text for number in range(5)]

    first = [signers.issued(text, CarnetClaims, now=NOW) for text in texts]

    assert len(signers.known) == 3
    again = [signers.issued(text, CarnetClaims, now=NOW) for text in reversed(texts)]
    assert [one is other for one, other in zip(again, reversed(first), strict=True)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_what_is_remembered_is_as_large_as_written_down() -> None:
    """About 600 bytes a token: 60 MiB when all places are taken."""
    texts = [carnet().but(jti=f"carnet-{number:016}").text for number in range(300)]
    signers = Signers(FixedTrust(WHO.key_set()))
    signers.issued(carnet().text, CarnetClaims, now=NOW)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for text in texts:
            assert signers.issued(text, CarnetClaims, now=NOW).principal
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert REMEMBERED == 100_000
    assert (after - before) / len(texts) < 650


def test_the_token_itself_is_not_kept() -> None:
    """Who reads the memory of a cache finds nothing there to show to anybody."""
    signers = Signers(FixedTrust(WHO.key_set()))
    text = carnet().text
    signers.issued(text, CarnetClaims, now=NOW)

    kept = repr(list(signers.known._tokens.items()))

    assert digest(text.encode()) in kept
    assert not any(part in kept for part in text.split("."))
    assert CARNET not in kept
    assert ISSUER in kept
