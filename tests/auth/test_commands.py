"""A command is verified in the order of docs/wire-contract.md; each row breaks one check."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from auth.claims import LEEWAY
from auth.errors import CHECK_OF, Check, Code, RefusalError, TrustUnavailableError
from auth.keys import SigningKey
from auth.policy import at_processing, public, requires
from auth.principal import Principal
from auth.seal import digest
from auth.statement import KeySetDraft
from auth.strict import decode_base64url, encode_base64url
from auth.trust import FixedTrust
from tests.auth.forge import (
    ABSENT,
    ALICE,
    BODY,
    CARNET_ID,
    GATEWAY,
    ISSUER,
    LIST,
    NOW,
    ORDERS,
    PLACE,
    REPORTS,
    SESSION,
    Scene,
    Token,
    carnet,
    command_scene,
    parties,
)

Change = Callable[[Scene], Scene]

OTHER_BODY = BODY.replace(b'"quantity":1', b'"quantity":1000')


def _but(**fields: Any) -> Change:
    """Other fields of the scene itself."""
    return lambda scene: replace(scene, **fields)


def _carnet(**claims: object) -> Change:
    return lambda scene: scene.with_carnet(**claims)


def _seal(**claims: object) -> Change:
    return lambda scene: scene.with_seal(**claims)


def _carnet_token(change: Callable[[Token], Token]) -> Change:
    return lambda scene: replace(scene, carnet=change(carnet()))


def _seal_token(change: Callable[[Token], Token]) -> Change:
    return lambda scene: replace(scene, seal=change(scene.seal))


def _signed_by(key: SigningKey) -> Callable[[Token], Token]:
    return lambda token: token.with_key(key)


def _header(**members: object) -> Callable[[Token], Token]:
    return lambda token: token.with_header(**members)


def _forged(token: Token) -> Token:
    """Signed by a stranger in the name of the key that is listed."""
    return token.with_key(parties().stranger).with_header(kid=token.key.kid)


def _headers(**headers: object) -> Change:
    return lambda scene: scene.with_headers(**headers)


def _rewritten(name: str, rewrite: Callable[[str], str]) -> Change:
    """The header that a genuine message has, written otherwise."""
    return lambda scene: replace(scene, headers={name: rewrite(_header_of(scene, name))})


def _renamed(name: str, other: str, *, keep: bool) -> Change:
    """The genuine header under another spelling of its name, alone or beside itself."""

    def change(scene: Scene) -> Scene:
        value = _header_of(scene, name)
        return replace(scene, headers={name: value if keep else ABSENT, other: value})

    return change


def _header_of(scene: Scene, name: str) -> str:
    return str(scene.message().headers[name])


def _from_another_message(name: str) -> Change:
    """A header of another genuine message of the same user, client and route."""

    def change(scene: Scene) -> Scene:
        other = scene.with_carnet(jti="carnet-0000000000000002").with_seal(jti="message-000000002")
        return replace(scene, headers={name: _header_of(replace(other, body=OTHER_BODY), name)})

    return change


def _statement(edit: Callable[[KeySetDraft], None]) -> Change:
    """Under another key set statement."""

    def change(scene: Scene) -> Scene:
        draft = parties().draft()
        edit(draft)
        return replace(scene, key_set=parties().key_set(draft))

    return change


def _may_only_list(draft: KeySetDraft) -> None:
    draft.grant(
        GATEWAY, publishes=frozenset({LIST.type}), exchanges=frozenset(), scopes=frozenset()
    )


def _both(*changes: Change) -> Change:
    def change(scene: Scene) -> Scene:
        for each in changes:
            scene = each(scene)
        return scene

    return change


def _revoked(scene: Scene) -> Scene:
    """All of Alice's tokens of an epoch under 4."""
    scene.revocations.revoke_subject(ALICE, epoch=4, until=NOW + 90_000)
    return scene


def _ended(session: str) -> Change:
    def change(scene: Scene) -> Scene:
        scene.revocations.revoke_session(session, until=NOW + 90_000)
        return scene

    return change


WHO = parties()
WRONG_VALUES: dict[str, object] = {
    "bytes": b"Bearer e30.e30.AA",
    "an integer": 7,
    "a float": 1.5,
    "true": True,
    "nothing": None,
    "a table": {"token": "Bearer e30.e30.AA"},
    "a list": ["Bearer e30.e30.AA"],
}
JUDGED_NOW = _both(_seal(exp=NOW + 300), _carnet(exp=NOW + 120), _but(expiry=at_processing()))
"""A handler that wants an unexpired carnet when it runs; this one ends after two minutes."""

ROWS: dict[Code, dict[str, Change]] = {
    # 1. exactly one carnet and one seal, strings, of bearable size
    Code.MISSING_TOKEN: {
        "it has no carnet": _headers(authorization=ABSENT),
        "it has no seal": _headers(carnet_seal=ABSENT),
        "it has neither": _headers(authorization=ABSENT, carnet_seal=ABSENT),
        **{f"its carnet is {k}": _headers(authorization=v) for k, v in WRONG_VALUES.items()},
        **{f"its seal is {k}": _headers(carnet_seal=v) for k, v in WRONG_VALUES.items()},
        "its authorization is empty": _headers(authorization=""),
        "its authorization is Basic": _headers(authorization="Basic YTpi"),
        "its scheme is in lower case": _rewritten("authorization", lambda h: "b" + h[1:]),
        "its scheme is missing": _rewritten("authorization", lambda h: h[7:]),
        "its carnet is under another case": _renamed("authorization", "Authorization", keep=False),
        "its seal is under another case": _renamed("carnet-seal", "Carnet-Seal", keep=False),
        "its seal is under an underscore": _renamed("carnet-seal", "carnet_seal", keep=False),
    },
    Code.DUPLICATE_TOKEN: {
        "it has two carnets": _renamed("authorization", "Authorization", keep=True),
        "it has two seals": _renamed("carnet-seal", "CARNET-SEAL", keep=True),
        "its second carnet is no string": _headers(AUTHORIZATION=b""),
    },
    Code.OVERSIZED_TOKEN: {
        "its carnet is too long": _headers(authorization="Bearer " + "A" * 4097),
        "its seal is too long": _headers(carnet_seal="A" * 4097),
        "its seal is 5 MB": _headers(carnet_seal="A" * 5_000_000),
    },
    # 2 to 4: test_token_form.py has more
    Code.MALFORMED_TOKEN: {
        "its carnet is no token": _headers(authorization="Bearer x"),
        "its carnet has two blanks": _rewritten("authorization", lambda h: h.replace(" ", "  ")),
        "its seal is no token": _headers(carnet_seal="x"),
        "its seal has a scheme": _rewritten("carnet-seal", lambda h: f"Bearer {h}"),
    },
    Code.MALFORMED_HEADER: {
        "its carnet has a member more": _carnet_token(_header(jku="https://example.org")),
        "its seal has a member more": _seal_token(_header(crit=["exp"])),
    },
    Code.WRONG_TYPE: {
        "its carnet is an access token": _carnet_token(_header(typ="at+jwt")),
        "its seal is a carnet": _seal_token(_header(typ="carnet+jwt")),
    },
    Code.ALGORITHM_NOT_ALLOWED: {
        "its carnet's alg is none": _carnet_token(_header(alg="none")),
        "its seal's alg is HS256": _seal_token(_header(alg="HS256")),
    },
    # 5. a key of that very signer, for that very alg, not retired when it signed
    Code.UNKNOWN_KEY: {
        "its carnet is signed by its client": _carnet_token(_signed_by(WHO.gateway)),
        "its carnet is signed by our own key": _carnet_token(_signed_by(WHO.orders)),
        "its carnet is signed with the issuer's seal key": _carnet_token(_signed_by(WHO.users)),
        "its seal is signed by the issuer": _seal_token(_signed_by(WHO.issuer)),
        "its seal is signed by another client": _seal_token(_signed_by(WHO.reports)),
        "its seal names another client": _seal(iss=REPORTS),
        "its seal names a client that is not listed": _seal(iss="unheard-of"),
        "its seal's kid is an encryption key": _seal_token(_header(kid=WHO.gateway_enc.kid)),
        "its seal's key is withdrawn": _statement(
            lambda draft: draft.withdraw_key(GATEWAY, WHO.gateway.kid)
        ),
        "its carnet's key is withdrawn": _statement(
            lambda draft: draft.withdraw_key("issuer", WHO.issuer.kid)
        ),
        "its client is withdrawn": _statement(lambda draft: draft.withdraw_client(GATEWAY)),
    },
    Code.KEY_MISMATCH: {
        "its carnet's alg is another key's": _carnet_token(_header(alg="RS256")),
        "its seal's alg is another key's": _seal_token(_header(alg="EdDSA")),
    },
    Code.KEY_RETIRED: {
        "its carnet's key was retired": _carnet_token(_signed_by(WHO.issuer_retired)),
        "its seal's key was retired": _seal_token(_signed_by(WHO.gateway_retired)),
        "its seal's key was retired a second before": _both(
            _seal_token(_signed_by(WHO.gateway_retired)), _seal(iat=WHO.RETIRED_AT + 1)
        ),
    },
    # 6. signature
    Code.BAD_SIGNATURE: {
        "its carnet is forged": _carnet_token(_forged),
        "its seal is forged": _seal_token(_forged),
    },
    # 7. test_claims.py has more
    Code.MALFORMED_CLAIMS: {
        "its carnet has no audience": _carnet(aud=ABSENT),
        "its carnet has a list of audiences": _carnet(aud=[ORDERS]),
        "its seal has no id": _seal(jti=ABSENT),
    },
    # 8. equal, never 'contains', never optional
    Code.WRONG_ISSUER: {
        "its issuer is another": _carnet(iss="other-service"),
        "its issuer is a prefix of ours": _carnet(iss=ISSUER[:-1]),
        "our issuer is a prefix of its": _carnet(iss=f"{ISSUER}.example.org"),
        "its issuer has a slash": _carnet(iss=f"{ISSUER}/"),
        "its issuer has another case": _carnet(iss="User-Service"),
        "its issuer has a blank": _carnet(iss=f" {ISSUER}"),
        "its issuer is the client": _carnet(iss=GATEWAY),
    },
    Code.WRONG_AUDIENCE: {
        "its audience is another service": _carnet(aud=REPORTS),
        "its audience is the client": _carnet(aud=GATEWAY),
        "its audience is a part of our name": _carnet(aud=ORDERS[:-1]),
        "our name is a part of its audience": _carnet(aud=f"{ORDERS}-2"),
    },
    # 9. sealed by the carnet's own client, for this body, route and type
    Code.WRONG_CLIENT: {
        "it is sealed by another client": _seal_token(
            lambda seal: seal.but(iss=REPORTS).with_key(WHO.reports)
        ),
        "its carnet is for another client": _carnet(act={"sub": REPORTS}),
        "its client acted only before": _carnet(act={"sub": REPORTS, "act": {"sub": GATEWAY}}),
        "its carnet is for no client": _carnet(act=ABSENT),
        "its carnet is another service's own": _carnet(act=ABSENT, sub=f"service:{REPORTS}"),
    },
    Code.TYPE_NOT_ALLOWED: {
        "its client may not publish it": _statement(_may_only_list),
    },
    Code.SEAL_MISMATCH: {
        "it is sealed over no carnet": _seal(ath=ABSENT),
        "it is sealed over another carnet": _seal(ath=digest(b"another")),
        "its carnet is another message's": _from_another_message("authorization"),
        "its seal is another message's": _from_another_message("carnet-seal"),
        "its body is another": _but(sent_body=OTHER_BODY),
        "its body is empty": _but(sent_body=b""),
        "its body has a line break more": _but(sent_body=BODY + b"\n"),
        "its body is 10 MB": _but(sent_body=b" " * 10_000_000),
        "its body is not UTF-8": _but(sent_body=b"\xff"),
        "it is sealed over another body": _seal(bh=digest(OTHER_BODY)),
        "its type is another": _but(sent_type="orders.cancel.v1"),
        "it is sealed as a request": _seal(k="req"),
        "it is sealed as a reply": _seal(k="rep"),
        "it is sealed as an event": _seal(k="evt"),
        "it is sealed for another service": _seal(aud=REPORTS),
        "it is sealed for no service": _seal(aud=ABSENT),
        "it is sealed for another exchange": _seal(ex="carnet.events"),
        "it is sealed for another routing key": _seal(rk="orders.cancel"),
        "it is sealed for another type": _seal(ty=LIST.type),
        "it comes to another handler": _but(route=replace(PLACE, routing_key="orders.cancel")),
        "it has a carnet where none is wanted": _but(policy=public()),
    },
    # 10. times, with 30 s of leeway
    Code.NOT_YET_VALID: {
        "its carnet is from the future": _carnet(iat=NOW + 31),
        "its carnet is not valid before later": _carnet(nbf=NOW + 31),
        "its seal is from the future": _seal(iat=NOW + 31),
        "its seal is not valid before later": _seal(nbf=NOW + 31),
        "it was sealed before its carnet": _seal(iat=NOW - 31),
    },
    Code.EXPIRED: {
        "it was accepted after the carnet's end": _both(_seal(iat=NOW + 301), _but(now=NOW + 301)),
        "its carnet is expired where that counts": _both(JUDGED_NOW, _but(now=NOW + 150.001)),
    },
    Code.LIFETIME_TOO_LONG: {
        "its carnet lives a second too long": _carnet(exp=NOW + 301),
        "its carnet ends as it begins": _carnet(exp=NOW),
        "its carnet ends before it begins": _carnet(exp=NOW - 1),
        "its seal lives a second too long": _seal(exp=NOW + 86_401),
        "its seal ends before it begins": _seal(exp=NOW - 1),
        "its seal outlives a carnet where that counts": _both(JUDGED_NOW, _seal(exp=NOW + 301)),
    },
    Code.TOO_OLD: {
        "it has waited for too long": _but(now=NOW + 3600 + LEEWAY + 0.001),
    },
    # 11. revocation, judged now under every rule
    Code.REVOKED: {
        "its session was ended": _ended(SESSION),
        "its subject's access was ended": _revoked,
        "its session was ended while it waited": _both(_ended(SESSION), _but(now=NOW + 3000)),
    },
    # 12. scope: exactly, no prefixes, no wildcards
    Code.INSUFFICIENT_SCOPE: {
        "it has another scope": _carnet(scope="orders:read"),
        "it has no scope": _carnet(scope=""),
        "its scope is longer": _carnet(scope="orders:write-all"),
        "its scope is shorter": _carnet(scope="orders"),
        "its scope is a wildcard": _carnet(scope="orders:* *"),
        "its scope has another case": _carnet(scope="Orders:Write"),
        "it has one of two scopes": _but(policy=requires("orders:write", "orders:admin")),
    },
}

AFTER_AUTHENTICATION = {Check.TIME, Check.REVOCATION, Check.SCOPE}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(change, code, id=f"{code}: {name}")
        for code, rows in ROWS.items()
        for name, change in rows.items()
    ],
)
def test_a_command_is_refused_when(change: Change, code: Code) -> None:
    scene = change(command_scene())

    with pytest.raises(RefusalError) as refusal:
        scene.judge()

    assert refusal.value.code == code
    assert (refusal.value.authenticated is not None) == (CHECK_OF[code] in AFTER_AUTHENTICATION)


def test_every_code_of_the_verifier_has_its_rows() -> None:
    """`inbox` is the consumer's check; the others are of messages that it never hands on.

    Releases have a table of their own.
    """
    of_the_consumer = {Code.FORBIDDEN_HEADER, Code.UNKNOWN_TYPE, Code.ID_REUSED}
    of_releases = {Code.RELEASE_REFUSED, Code.RELEASE_EXPIRED}
    of_events_alone = {Code.AMBIGUOUS_PUBLISHER}  # test_events.py

    others = of_the_consumer | of_releases | of_events_alone
    assert set(ROWS) == set(CHECK_OF) - others


def test_a_genuine_command_gives_its_principal() -> None:
    judged = command_scene().with_carnet(act={"sub": GATEWAY, "act": {"sub": REPORTS}}).judge()

    assert judged.principal == Principal(
        subject=ALICE,
        scopes=frozenset({"orders:read", "orders:write"}),
        actors=(GATEWAY, REPORTS),
        session=SESSION,
        epoch=3,
        token_id=CARNET_ID,
        expires_at=NOW + 300,
    )
    assert judged.principal.has("orders:write")
    assert not judged.principal.has("orders")
    assert (judged.seal.iss, judged.seal.bh) == (GATEWAY, digest(BODY))


def _shared(ty: str) -> KeySetDraft:
    """A statement that gives this type to the report service as well."""
    draft = WHO.draft()
    draft.grant(
        REPORTS, publishes=frozenset({ty}), exchanges=frozenset({ORDERS}), scopes=frozenset()
    )
    return draft


ACCEPTED: dict[str, Change] = {
    "a carnet of a clock that is 30 s ahead": _carnet(iat=NOW + 30, exp=NOW + 330),
    "a seal of a clock that is 30 s ahead": _seal(iat=NOW + 30),
    "a seal 30 s before its carnet": _seal(iat=NOW - 30),
    "a token that is valid since now": _carnet(nbf=NOW),
    "work accepted in the carnet's last second": _both(_seal(iat=NOW + 300), _but(now=NOW + 300)),
    "work that waited for as long as it may": _but(now=NOW + 3600 + LEEWAY),
    "work that waited past its carnet's end": _but(now=NOW + 3000),
    "a carnet judged in its last second": _both(JUDGED_NOW, _but(now=NOW + 150)),
    "a carnet as long as it may be": _carnet(exp=NOW + 300),
    "a seal as long as it may be": _seal(exp=NOW + 86_400),
    "a seal of no life": _seal(exp=NOW),
    "a carnet of the issuer's next key": _carnet_token(_signed_by(WHO.issuer_next)),
    "what a retired key sealed in its last second": _both(
        _carnet(iat=WHO.RETIRED_AT, exp=NOW + 200),
        _seal_token(_signed_by(WHO.gateway_retired)),
        _seal(iat=WHO.RETIRED_AT),
    ),
    "what a retired key issued in its last second": _both(
        _carnet_token(_signed_by(WHO.issuer_retired)), _carnet(iat=WHO.RETIRED_AT, exp=NOW + 200)
    ),
    "a carnet of three actors": _carnet(
        act={"sub": GATEWAY, "act": {"sub": REPORTS, "act": {"sub": ORDERS}}}
    ),
    "a service's own carnet": _carnet(act=ABSENT, sub=f"service:{GATEWAY}", sid=ABSENT),
    "a session beside one that was ended": _ended("another-session-00001"),
    "a token of the epoch that revoked": _both(_revoked, _carnet(epoch=4)),
    "a type that another client may publish too": lambda scene: replace(
        scene, key_set=WHO.key_set(_shared(PLACE.type))
    ),
    "headers that are not ours": _headers(traceparent="00-1", x_death=[{"count": 9}], CC=["a"]),
}


@pytest.mark.parametrize("change", [pytest.param(c, id=name) for name, c in ACCEPTED.items()])
def test_a_command_is_accepted_with(change: Change) -> None:
    assert change(command_scene()).judge().principal is not None


def test_a_public_command_is_accepted_without_a_carnet_and_never_without_a_seal() -> None:
    scene = replace(command_scene(), carnet=None, policy=public())

    judged = scene.judge()
    assert (judged.principal, judged.carnet, judged.seal.iss) == (None, None, GATEWAY)

    for change, code in (
        (_headers(carnet_seal=ABSENT), Code.MISSING_TOKEN),
        (_headers(authorization="Bearer e30.e30.AA"), Code.SEAL_MISMATCH),
        (_headers(Authorization=7), Code.SEAL_MISMATCH),
        (_seal(ath=digest(b"carnet")), Code.SEAL_MISMATCH),
        (_statement(_may_only_list), Code.TYPE_NOT_ALLOWED),
        (_seal(iat=NOW + 31), Code.NOT_YET_VALID),
        (_seal(exp=NOW + 86_401), Code.LIFETIME_TOO_LONG),
    ):
        with pytest.raises(RefusalError) as refusal:
            change(scene).judge()
        assert refusal.value.code == code


def test_the_twin_of_an_ecdsa_signature_is_no_second_message() -> None:
    """(r, n - s) verifies as (r, s) does, so nothing may be keyed on a token's bytes."""
    scene = command_scene()
    genuine = scene.message()
    seal = str(genuine.headers["carnet-seal"])
    bearer = str(genuine.headers["authorization"])

    twin = scene.with_headers(authorization=bearer, carnet_seal=_twin(seal))
    assert twin.message().headers["carnet-seal"] != seal
    assert twin.judge().seal.jti == scene.judge_message(genuine).seal.jti

    with pytest.raises(RefusalError) as refusal:
        scene.with_headers(authorization=_twin(bearer), carnet_seal=seal).judge()
    assert refusal.value.code == Code.SEAL_MISMATCH


def _twin(token: str) -> str:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signing_input, _, signature = token.rpartition(".")
    raw = decode_base64url(signature)
    s = order - int.from_bytes(raw[32:], "big")
    return f"{signing_input}.{encode_base64url(raw[:32] + s.to_bytes(32, 'big'))}"


def test_a_user_whose_id_is_a_clients_name_is_not_that_client() -> None:
    """A UUID may be a valid client id; only `service:` makes a subject a client."""
    name = "abcdef01-8f7e-4a52-9d0b-7b1c9a6f2e11"
    who = parties()
    draft = who.draft()
    draft.add_client(
        name,
        key=who.stranger.public,
        enc=None,
        publishes=frozenset({PLACE.type}),
        exchanges=frozenset(),
        scopes=frozenset(),
    )
    scene = replace(
        command_scene().with_carnet(act=ABSENT, sub=name),
        seal=command_scene().seal.but(iss=name).with_key(who.stranger),
        key_set=who.key_set(draft),
    )

    with pytest.raises(RefusalError) as refusal:
        scene.judge()
    assert refusal.value.code == Code.WRONG_CLIENT


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_the_other_algorithms_are_accepted_under_their_own_keys(algorithm: str) -> None:
    who = parties("RS256" if algorithm == "RS256" else "EdDSA")

    command_scene(who).judge()
    for other in {"ES256", "RS256", "EdDSA"} - {algorithm}:
        scene = command_scene(who)
        with pytest.raises(RefusalError) as refusal:
            replace(scene, seal=scene.seal.with_header(alg=other)).judge()
        assert refusal.value.code == Code.KEY_MISMATCH


class SilentTrust(FixedTrust):
    """A trust feed that has gone silent."""

    def require_fresh(self, now: float) -> None:
        raise TrustUnavailableError(f"silent at {now}")


def _silent(scene: Scene) -> Scene:
    return replace(scene, trust=SilentTrust(scene.key_set))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_both(), id="a genuine message"),
        pytest.param(_carnet_token(_header(kid="unheard-of")), id="an unknown issuer's key"),
        pytest.param(_seal_token(_header(kid="unheard-of")), id="an unknown client's key"),
        pytest.param(_carnet(scope="orders:read"), id="a message without the scope"),
        pytest.param(_but(carnet=None, policy=public()), id="a public message"),
    ],
)
def test_nothing_is_refused_or_accepted_that_only_a_fresh_feed_could_judge(change: Change) -> None:
    with pytest.raises(TrustUnavailableError):
        _silent(change(command_scene())).judge()


def test_what_no_feed_could_save_is_refused_under_a_silent_one() -> None:
    for change, code in (
        (_headers(carnet_seal=ABSENT), Code.MISSING_TOKEN),
        (_but(sent_body=OTHER_BODY), Code.SEAL_MISMATCH),
        (_seal(exp=NOW + 86_401), Code.LIFETIME_TOO_LONG),
    ):
        with pytest.raises(RefusalError) as refusal:
            _silent(change(command_scene())).judge()
        assert refusal.value.code == code


def test_no_message_is_judged_by_an_expired_statement() -> None:
    """The fault is ours: the operator has to sign a new one, and the message waits."""
    scene = command_scene()
    over = scene.key_set.expires_at + 1
    fresh = scene.with_carnet(iat=over, exp=over + 300).with_seal(iat=over, exp=over + 60)

    with pytest.raises(TrustUnavailableError):
        replace(fresh, now=over).judge()


def test_one_verifier_serves_every_handler() -> None:
    """A token is no state: the same one is judged anew, in any order."""
    scene = command_scene()
    message = scene.message()
    forged = replace(scene, sent_body=OTHER_BODY).message()

    for _ in range(3):
        scene.judge_message(message)
        with pytest.raises(RefusalError):
            scene.judge_message(forged)
