"""A command that is verified in parts gets the verdict that it would get in one go.

Between the parts the world may change: keys, revocations, time. What counts is what holds when the
command is closed, and again when it is verified anew before its handler runs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from auth.claims import LEEWAY
from auth.errors import Code, RefusalError, TrustUnavailableError
from auth.keyset import KeySet
from auth.message import AUTHORIZATION, UnverifiedMessage
from auth.policy import at_processing, public
from auth.release import MAX_RELEASE_LIFE
from auth.revocation import RevocationList
from auth.signers import Signers
from auth.statement import ISSUER as ISSUERS_KEYS
from auth.statement import KeySetDraft
from auth.tokens import CarnetClaims
from auth.trust import FixedTrust
from auth.verifier import Opened, VerifiedMessage, Verifier
from tests.auth.forge import (
    GATEWAY,
    LIST,
    NOW,
    ORDERS,
    SESSION,
    Scene,
    Token,
    carnet,
    command_scene,
    parties,
    release,
)
from tests.auth.test_commands import ROWS
from tests.auth.test_releases import BAD, LATER

WHO = parties()
DAY = 24 * 3600
ENDED = "session-that-was-ended"


@dataclass
class Desk:
    """One scene's message on its way through the parts, and what it is judged by meanwhile."""

    scene: Scene

    def __post_init__(self) -> None:
        self.trust = FixedTrust(self.scene.key_set, self.scene.revocations)
        self.verifier = Verifier(self.trust, audience=self.scene.audience)
        self.message = self.scene.message()
        self.now = self.scene.now

    def whole(self, message: UnverifiedMessage | None = None) -> VerifiedMessage:
        """Verified in one go, by a verifier that has seen nothing yet."""
        scene = self.scene
        return Verifier(self.trust, audience=scene.audience).command(
            message or self.message, scene.route, scene.policy, scene.expiry, now=self.now
        )

    def open(self, message: UnverifiedMessage | None = None) -> Opened:
        return self.verifier.open_command(
            message or self.message, self.scene.route, self.scene.policy, now=self.now
        )

    def opened(self) -> Opened:
        """Up to its signatures, which hold."""
        opened = self.open()
        opened.check_signatures()
        return opened

    def close(self, opened: Opened) -> VerifiedMessage:
        return self.verifier.close_command(opened, self.scene.expiry, now=self.now)

    def closed(self) -> VerifiedMessage:
        return self.close(self.opened())

    def again(self, genuine: VerifiedMessage) -> VerifiedMessage:
        scene = self.scene
        return self.verifier.command_again(
            genuine, self.message, scene.route, scene.policy, scene.expiry, now=self.now
        )

    def in_parts(self) -> VerifiedMessage:
        """All of it, with nothing in between."""
        return self.again(self.closed())

    def believe(self, edit: Callable[[KeySetDraft], object]) -> KeySet:
        """Another statement counts from now on."""
        draft = KeySetDraft.of(self.trust.key_set)
        edit(draft)
        self.trust.key_set = WHO.key_set(draft)
        return self.trust.key_set


def _released(what: str = "release") -> Scene:
    return replace(command_scene(), now=LATER, release=release(now=LATER).but(what=what))


def _public() -> Scene:
    return replace(command_scene(), carnet=None, policy=public())


ACCEPTED: dict[str, Callable[[], Scene]] = {
    "of a user": command_scene,
    "without a carnet": _public,
    "that is released": _released,
    "that is released and has no carnet": lambda: replace(
        _released(), carnet=None, policy=public()
    ),
    "that is to be discarded": lambda: _released("discard"),
}


def _refusal(judge: Callable[[], object]) -> RefusalError:
    with pytest.raises(RefusalError) as refusal:
        judge()
    return refusal.value


KNOWN = pytest.mark.parametrize("known", [False, True], ids=["new carnet", "known carnet"])


# The same verdict


@pytest.mark.parametrize(
    ("code", "name"), [(code, name) for code, rows in ROWS.items() for name in rows]
)
def test_parts_refuse_what_is_refused_in_one_go(code: Code, name: str) -> None:
    """Every row of test_commands.py: by the same code, as known or unknown a message."""
    desk = Desk(ROWS[code][name](command_scene()))

    whole, parts = _refusal(desk.whole), _refusal(desk.in_parts)

    assert parts.code == whole.code == code
    assert parts.detail == whole.detail
    assert parts.authenticated == whole.authenticated


@pytest.mark.parametrize("what", BAD)
def test_parts_refuse_a_release_that(what: str) -> None:
    """Every row of test_releases.py; nobody's message is a refused one for it."""
    desk = Desk(BAD[what][0](_released()))

    refusal = _refusal(desk.in_parts)

    assert refusal.code == Code.RELEASE_REFUSED
    assert BAD[what][1] in refusal.detail
    assert refusal.authenticated is None


@pytest.mark.parametrize("what", ACCEPTED)
def test_parts_accept_a_command(what: str) -> None:
    desk = Desk(ACCEPTED[what]())

    closed = desk.closed()

    assert closed == desk.whole()
    assert closed.key_set is desk.trust.key_set
    assert desk.again(closed) is closed


def _by_a_stranger(token: Token) -> Token:
    """In the name of the key that is listed."""
    return token.with_key(WHO.stranger).with_header(kid=token.key.kid)


Change = Callable[[Token], Token]
OF_EITHER: dict[int, tuple[Change, Code]] = {
    2: (lambda token: replace(token, mangle=lambda text: f"{text}="), Code.MALFORMED_TOKEN),
    3: (lambda token: token.with_header(jku="https://example.org"), Code.MALFORMED_HEADER),
    4: (lambda token: token.with_header(typ="JWT"), Code.WRONG_TYPE),
    5: (lambda token: token.with_key(WHO.stranger), Code.UNKNOWN_KEY),
    6: (_by_a_stranger, Code.BAD_SIGNATURE),
    7: (lambda token: token.but(iss=7), Code.MALFORMED_CLAIMS),
}
OF_CARNETS: dict[int, tuple[Change, Code]] = {
    **OF_EITHER,
    8: (lambda token: token.but(aud=GATEWAY), Code.WRONG_AUDIENCE),
    11: (lambda token: token.but(sid=ENDED), Code.REVOKED),
    12: (lambda token: token.but(scope=""), Code.INSUFFICIENT_SCOPE),
}
OF_SEALS: dict[int, tuple[Change, Code]] = {
    **OF_EITHER,
    9: (lambda token: token.but(rk="elsewhere"), Code.SEAL_MISMATCH),
    10: (lambda token: token.but(exp=NOW + 2 * DAY), Code.LIFETIME_TOO_LONG),
}
"""One fault at each check that can find one, and its code."""


@pytest.mark.parametrize("of_seal", OF_SEALS)
@pytest.mark.parametrize("of_carnet", OF_CARNETS)
def test_of_two_faults_the_one_of_the_earlier_check_is_told(of_carnet: int, of_seal: int) -> None:
    """In one go and in parts: the order is that of the docstring of `auth.verifier`."""
    scene = command_scene()
    scene.revocations.revoke_session(ENDED, until=NOW + 2 * DAY)
    spoil_carnet, code_of_carnet = OF_CARNETS[of_carnet]
    spoil_seal, code_of_seal = OF_SEALS[of_seal]
    desk = Desk(replace(scene, carnet=spoil_carnet(carnet()), seal=spoil_seal(scene.seal)))

    expected = code_of_carnet if of_carnet <= of_seal else code_of_seal

    assert _refusal(desk.whole).code == expected
    for _ in range(2):  # the second time the carnet is known, if it is genuine
        assert _refusal(desk.in_parts).code == expected


SAME_CHECK: list[tuple[Change, Code, Change, Code]] = [
    (
        lambda token: token.with_header(typ="JWT"),
        Code.WRONG_TYPE,
        lambda token: token.with_header(alg="none"),
        Code.ALGORITHM_NOT_ALLOWED,
    ),
    (
        lambda token: token.with_key(WHO.stranger),
        Code.UNKNOWN_KEY,
        lambda token: token.with_header(alg="EdDSA"),
        Code.KEY_MISMATCH,
    ),
]


@pytest.mark.parametrize("row", SAME_CHECK, ids=["check 4", "check 5"])
def test_of_two_faults_of_one_check_the_carnets_is_told(
    row: tuple[Change, Code, Change, Code],
) -> None:
    one, code_of_one, other, code_of_other = row
    scene = command_scene()

    first = Desk(replace(scene, carnet=one(carnet()), seal=other(scene.seal)))
    second = Desk(replace(scene, carnet=other(carnet()), seal=one(scene.seal)))

    assert _refusal(first.in_parts).code == code_of_one
    assert _refusal(second.in_parts).code == code_of_other


# Signatures


def _forge_carnet(scene: Scene) -> Scene:
    return replace(scene, carnet=_by_a_stranger(carnet()))


def _forge_seal(scene: Scene) -> Scene:
    return replace(scene, seal=_by_a_stranger(scene.seal))


def test_a_forged_signature_is_found_by_the_second_part() -> None:
    for forge in (_forge_carnet, _forge_seal):
        opened = Desk(forge(command_scene())).open()

        assert _refusal(opened.check_signatures).code == Code.BAD_SIGNATURE


@pytest.mark.parametrize("forge", [_forge_carnet, _forge_seal], ids=["carnet", "seal"])
def test_nothing_is_closed_whose_signature_does_not_hold(forge: Callable[[Scene], Scene]) -> None:
    """A caller that does not heed the second part gets no verdict, and teaches no forgery."""
    desk = Desk(forge(command_scene()))
    opened = desk.open()
    _refusal(opened.check_signatures)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="signature"):
            desk.close(opened)

    assert _refusal(desk.in_parts).code == Code.BAD_SIGNATURE


@pytest.mark.parametrize(
    "forge",
    [_forge_carnet, _forge_seal, lambda scene: scene],
    ids=["forged carnet", "forged seal", "genuine"],
)
@KNOWN
def test_nothing_is_closed_whose_signatures_nobody_checked(
    forge: Callable[[Scene], Scene], *, known: bool
) -> None:
    desk = Desk(forge(command_scene()))
    if known:
        genuine = Desk(command_scene())
        desk.verifier, desk.trust = genuine.verifier, genuine.trust
        genuine.in_parts()
    opened = desk.open()

    with pytest.raises(RuntimeError, match="signature"):
        desk.close(opened)


def test_only_the_seal_is_left_to_check_of_a_carnet_that_is_known() -> None:
    desk = Desk(command_scene())
    assert len(desk.open().unread) == 2
    assert len(desk.open().unread) == 2  # opened is not known

    desk.closed()

    assert len(desk.open().unread) == 1
    assert desk.closed() == desk.whole()


def test_what_needs_no_carnet_is_opened_with_its_signature_checked() -> None:
    for scene in (_public(), _released()):
        assert Desk(scene).open().unread == ()
        assert _refusal(Desk(_forge_seal(scene)).open).code == Code.BAD_SIGNATURE


def test_what_others_have_found_of_signatures_counts_as_if_it_were_found_here() -> None:
    desk = Desk(_forge_seal(command_scene()))
    opened = desk.open()
    verdicts = [signature.holds() for signature in opened.signatures]
    assert verdicts == [True, False]  # the carnet's and the seal's

    assert _refusal(lambda: opened.take_verdicts(verdicts)).code == Code.BAD_SIGNATURE
    with pytest.raises(RuntimeError, match="signature"):
        desk.close(opened)


@pytest.mark.parametrize("verdicts", [[], [True], [True, True, True]])
def test_a_verdict_too_few_or_too_many_is_none(verdicts: list[bool]) -> None:
    opened = Desk(command_scene()).open()

    with pytest.raises(ValueError, match="zip"):
        opened.take_verdicts(verdicts)


@pytest.mark.parametrize("forged", [False, True], ids=["nobody checked it", "it does not hold"])
def test_no_claims_are_read_before_the_signature_holds(*, forged: bool) -> None:
    """Whoever writes another way through the checks cannot forget the sixth."""
    token = _by_a_stranger(carnet()) if forged else carnet()
    reading = Signers(Desk(command_scene()).trust).reading(token.text, CarnetClaims)
    reading.take_apart()
    reading.read_header()
    reading.check_algorithm()
    reading.find_key(NOW)
    if forged:
        assert _refusal(reading.check_signature).code == Code.BAD_SIGNATURE

    with pytest.raises(RuntimeError, match="signature"):
        reading.read_claims()


# Other keys


def _withdraw_the_issuers_key(draft: KeySetDraft) -> None:
    draft.withdraw_key(ISSUERS_KEYS, WHO.issuer.kid)


def _retire_the_issuers_key(draft: KeySetDraft) -> None:
    draft.promote(ISSUERS_KEYS, WHO.issuer_next.kid, now=NOW - 1)


def _withdraw_the_gateways_key(draft: KeySetDraft) -> None:
    draft.add_next_key(GATEWAY, WHO.stranger.public)
    draft.withdraw_key(GATEWAY, WHO.gateway.kid)


def _retire_the_gateways_key(draft: KeySetDraft) -> None:
    draft.add_next_key(GATEWAY, WHO.stranger.public)
    draft.promote(GATEWAY, WHO.stranger.kid, now=NOW - 1)


def _give_the_gateways_key_to_the_orders(draft: KeySetDraft) -> None:
    draft.clients[ORDERS]["keys"] += draft.clients.pop(GATEWAY)["keys"]


def _withdraw_the_gateway(draft: KeySetDraft) -> None:
    del draft.clients[GATEWAY]


def _take_its_type_away(draft: KeySetDraft) -> None:
    draft.grant(
        GATEWAY, publishes=frozenset({LIST.type}), exchanges=frozenset(), scopes=frozenset()
    )


def _rename_the_issuer(draft: KeySetDraft) -> None:
    draft.issuer = "another"


def _withdraw_the_key_in_the_same_version(draft: KeySetDraft) -> None:
    draft.version -= 1
    _withdraw_the_gateways_key(draft)


EDITS: list[tuple[Callable[[KeySetDraft], None], Code]] = [
    (_withdraw_the_issuers_key, Code.UNKNOWN_KEY),
    (_retire_the_issuers_key, Code.KEY_RETIRED),
    (_withdraw_the_gateways_key, Code.UNKNOWN_KEY),
    (_retire_the_gateways_key, Code.KEY_RETIRED),
    (_give_the_gateways_key_to_the_orders, Code.UNKNOWN_KEY),
    (_withdraw_the_gateway, Code.UNKNOWN_KEY),
    (_take_its_type_away, Code.TYPE_NOT_ALLOWED),
    (_rename_the_issuer, Code.WRONG_ISSUER),
    (_withdraw_the_key_in_the_same_version, Code.UNKNOWN_KEY),
]
BY_EDIT = pytest.mark.parametrize(
    ("edit", "code"), EDITS, ids=[edit.__name__.strip("_") for edit, _ in EDITS]
)


def _desk(*, known: bool) -> Desk:
    desk = Desk(command_scene())
    if known:
        desk.in_parts()
    return desk


@KNOWN
@BY_EDIT
def test_keys_that_change_before_the_signatures_count(
    edit: Callable[[KeySetDraft], None], code: Code, *, known: bool
) -> None:
    desk = _desk(known=known)
    opened = desk.open()

    desk.believe(edit)
    opened.check_signatures()  # by the keys that it was opened with

    refusal = _refusal(lambda: desk.close(opened))
    assert refusal.code == code
    assert refusal.authenticated is None


@KNOWN
@BY_EDIT
def test_keys_that_change_after_the_signatures_count(
    edit: Callable[[KeySetDraft], None], code: Code, *, known: bool
) -> None:
    desk = _desk(known=known)
    opened = desk.opened()

    desk.believe(edit)

    refusal = _refusal(lambda: desk.close(opened))
    assert refusal.code == code
    assert refusal.authenticated is None


@KNOWN
@BY_EDIT
def test_keys_that_change_before_the_handler_runs_count(
    edit: Callable[[KeySetDraft], None], code: Code, *, known: bool
) -> None:
    desk = _desk(known=known)
    closed = desk.closed()

    desk.believe(edit)

    refusal = _refusal(lambda: desk.again(closed))
    assert refusal.code == code
    assert refusal.authenticated is None


@pytest.mark.parametrize(
    "what", ["without a carnet", "that is released", "that is to be discarded"]
)
def test_the_withdrawal_of_the_sealing_key_ends_also_a_command(what: str) -> None:
    """Those have no signature left to check after they were opened."""
    desk = Desk(ACCEPTED[what]())
    opened, closed = desk.opened(), desk.closed()

    desk.believe(_withdraw_the_gateways_key)

    assert _refusal(lambda: desk.close(opened)).code == Code.UNKNOWN_KEY
    assert _refusal(lambda: desk.again(closed)).code == Code.UNKNOWN_KEY


def test_a_key_that_was_listed_meanwhile_lets_nothing_in_that_was_refused() -> None:
    """It was opened by keys that are gone; closed, it is verified by those that are there."""
    desk = Desk(replace(command_scene(), seal=command_scene().seal.with_key(WHO.stranger)))
    assert _refusal(desk.open).code == Code.UNKNOWN_KEY

    desk.believe(_retire_the_gateways_key)

    assert desk.in_parts()


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_other_keys_verify_as_well_is_theirs_then(what: str) -> None:
    desk = Desk(ACCEPTED[what]())
    opened, before = desk.opened(), desk.closed()

    now = desk.believe(lambda draft: draft.promote(ISSUERS_KEYS, WHO.issuer_next.kid, now=LATER))

    assert before.key_set is not now
    assert desk.close(opened).key_set is now
    again = desk.again(before)
    assert again == before
    assert again.key_set is now
    assert desk.again(again) is again


def test_after_a_change_of_keys_a_forged_signature_is_found_although_nobody_checked_it() -> None:
    """`close_command` verifies anew then, all of it."""
    desk = Desk(_forge_seal(command_scene()))
    opened = desk.open()

    desk.believe(lambda draft: draft.promote(ISSUERS_KEYS, WHO.issuer_next.kid, now=NOW))

    assert _refusal(lambda: desk.close(opened)).code == Code.BAD_SIGNATURE


# Revocation and time


def _later(
    desk: Desk, opened: Opened, closed: VerifiedMessage
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The parts that are still to come, of one that was opened and one that was closed."""
    return (lambda: desk.close(opened), lambda: desk.again(closed))


def _end_the_session(desk: Desk) -> None:
    desk.trust.revocations.revoke_session(SESSION, until=NOW + 2 * DAY)


def _wait_too_long(desk: Desk) -> None:
    desk.now = NOW + 3600 + LEEWAY + 1


def _set_the_clock_back(desk: Desk) -> None:
    desk.now = NOW - LEEWAY - 1


@KNOWN
@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(_end_the_session, Code.REVOKED, id="its session was ended"),
        pytest.param(_wait_too_long, Code.TOO_OLD, id="it has waited for too long"),
        pytest.param(_set_the_clock_back, Code.NOT_YET_VALID, id="the clock was set back"),
    ],
)
def test_a_command_is_refused_as_a_known_one_when_meanwhile(
    change: Callable[[Desk], None], code: Code, *, known: bool
) -> None:
    desk = _desk(known=known)
    opened, closed = desk.opened(), desk.closed()

    change(desk)

    for judge in _later(desk, opened, closed):
        refusal = _refusal(judge)
        assert refusal.code == code
        assert refusal.authenticated == closed


@pytest.mark.parametrize("what", ["that is released", "that is to be discarded"])
def test_a_release_that_has_ended_meanwhile_counts_no_more(what: str) -> None:
    """And makes its message no refused one: another release may come."""
    desk = Desk(ACCEPTED[what]())
    opened, closed = desk.opened(), desk.closed()
    desk.now = LATER + MAX_RELEASE_LIFE + LEEWAY
    assert desk.again(desk.close(opened)) == closed

    desk.now += 1

    for judge in (*_later(desk, opened, closed), desk.whole):
        refusal = _refusal(judge)
        assert refusal.code == Code.RELEASE_EXPIRED
        assert refusal.authenticated is None


@KNOWN
@pytest.mark.parametrize("what", ACCEPTED)
def test_a_statement_that_has_expired_meanwhile_judges_nothing(what: str, *, known: bool) -> None:
    """Neither lets it in nor refuses it, although it has waited for too long by then."""
    desk = Desk(ACCEPTED[what]())
    if known:
        desk.in_parts()
    opened, closed = desk.opened(), desk.closed()

    desk.now = desk.trust.key_set.expires_at + 1

    for judge in (*_later(desk, opened, closed), desk.whole):
        with pytest.raises(TrustUnavailableError):
            judge()


@KNOWN
@pytest.mark.parametrize("header", [AUTHORIZATION, "carnet-seal"])
def test_under_an_expired_statement_what_has_no_form_is_refused_all_the_same(
    header: str, *, known: bool
) -> None:
    """Its keys are asked for at check 5, whoever's carnet came before."""
    desk = _desk(known=known)
    desk.now = desk.trust.key_set.expires_at + 1
    value = "Bearer x" if header == AUTHORIZATION else "x"
    spoilt = replace(desk.message, headers={**desk.message.headers, header: value})

    assert _refusal(lambda: desk.whole(spoilt)).code == Code.MALFORMED_TOKEN
    assert _refusal(lambda: desk.open(spoilt)).code == Code.MALFORMED_TOKEN


# Who was admitted at a moment is admitted at an equal one


def _ended(desk: Desk) -> None:
    desk.trust.revocations.revoke_session(ENDED, until=NOW + DAY)


def _ended_for_all(desk: Desk) -> None:
    desk.trust.revocations.revoke_subject("somebody", epoch=7, until=NOW + DAY)


def _told_anew(desk: Desk) -> None:
    desk.trust.revocations = RevocationList()


def _a_second_later(desk: Desk) -> None:
    desk.now += 1


CHANGES: dict[str, Callable[[Desk], object]] = {
    "a session was ended": _ended,
    "a subject's access was ended": _ended_for_all,
    "all revocations are told anew": _told_anew,
    "other keys count": lambda desk: desk.believe(lambda _: None),
    "the next second has begun": _a_second_later,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_is_another_moment_once_a_verdict_may_be_another(
    change: Callable[[Desk], object],
) -> None:
    desk = Desk(command_scene())
    desk.now = NOW + 0.5
    moment = desk.verifier.moment(desk.now)
    assert desk.verifier.fresh_moment(desk.now + 0.5) == moment

    change(desk)

    assert desk.verifier.fresh_moment(desk.now) != moment


def test_there_is_no_moment_to_go_by_while_trust_is_stale() -> None:
    desk = Desk(command_scene())
    end = desk.trust.key_set.expires_at

    assert desk.verifier.moment(end + 1).second == end + 1
    with pytest.raises(TrustUnavailableError):
        desk.verifier.fresh_moment(end + 1)


@pytest.mark.parametrize("ends", ["seal", "carnet"])
@pytest.mark.parametrize("after", [-1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("later", [0.0, 0.125, 0.25, 0.5, 0.75, 1.0])
def test_nothing_ends_within_a_moment(ends: str, after: float, later: float) -> None:
    """Around the very last second in which a message is taken."""
    scene = replace(command_scene(), expiry=at_processing())
    short = scene.with_seal(exp=NOW + 100) if ends == "seal" else scene.with_carnet(exp=NOW + 100)
    desk = Desk(short)
    first = NOW + 100 + LEEWAY + after

    def admitted(now: float) -> bool:
        desk.now = now
        try:
            desk.whole()
        except RefusalError:
            return False
        return True

    if desk.verifier.moment(first) == desk.verifier.moment(first + later):
        assert admitted(first) == admitted(first + later)
