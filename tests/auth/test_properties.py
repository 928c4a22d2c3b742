"""What holds of every input, not only of those that somebody thought of.

Each run draws its inputs anew and is bounded; a failure prints the input that it shrank to.
"""

import json
import os
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auth.claims import LEEWAY
from auth.encryption import RecipientKey
from auth.errors import KeySetError, RefusalError
from auth.jws import KEY_SET
from auth.keys import VerificationKey
from auth.keyset import TrustRoot
from auth.message import UnverifiedMessage
from auth.passwords import verify_password
from auth.policy import at_processing
from auth.seal import Sealer
from auth.strict import decode_base64url, encode_base64url, parse_json_object
from tests.auth.forge import (
    BODY,
    GATEWAY,
    MESSAGE_ID,
    NOW,
    ORDERS,
    PLACE,
    Scene,
    Token,
    access_token,
    carnet,
    command_scene,
    event_scene,
    judge_access_token,
    parties,
    public_request_scene,
    reply_scene,
    request_scene,
)

EXAMPLES = int(os.environ.get("CARNET_EXAMPLES", "30"))
"""Inputs drawn for each property; a search for faults wants thousands."""

bounded = settings(max_examples=EXAMPLES, deadline=None, database=None)
wide = settings(bounded, max_examples=3 * EXAMPLES)

WHO = parties()
SCENES = {
    "command": command_scene(),
    "request": request_scene(),
    "public request": public_request_scene(),
    "reply": reply_scene(),
    "event": event_scene(),
}
MESSAGES = {name: scene.message() for name, scene in SCENES.items()}
ACCESS_TOKEN = access_token().text

scenes = pytest.mark.parametrize("name", SCENES)

any_text = st.text(st.characters(codec=None), max_size=60)
token_text = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ", max_size=300
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | st.sampled_from([NOW, NOW + 60, "ES256", GATEWAY, ORDERS, "cmd", BODY.decode()]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
amqp_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.decimals(allow_nan=False, places=2).map(Decimal)
    | st.datetimes().map(lambda when: when.replace(tzinfo=UTC))
    | st.binary(max_size=40)
    | st.binary(max_size=40).map(bytearray)
    | any_text
    | token_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)
header_names = (
    st.sampled_from(
        ["authorization", "Authorization", "AUTHORIZATION", "carnet-seal", "Carnet-Seal", "CC", ""]
    )
    | any_text
)


@st.composite
def mutations(draw: st.DrawFn, text: str) -> str:
    """The text with one character changed, put in or left out."""
    at = draw(st.integers(0, len(text) - 1))
    other = draw(st.characters(codec=None) | st.sampled_from("AQgw-_.= \n"))
    kind = draw(st.sampled_from(["change", "insert", "delete"]))
    if kind == "delete":
        return text[:at] + text[at + 1 :]
    if kind == "insert":
        return text[:at] + other + text[at:]
    assume(other != text[at])
    return text[:at] + other + text[at + 1 :]


def _refused(scene: Scene, message: UnverifiedMessage) -> None:
    with pytest.raises(RefusalError):
        scene.judge_message(message)


def _judged(scene: Scene, message: UnverifiedMessage) -> bool:
    """Whether it was accepted; whatever is raised but a refusal fails the test."""
    try:
        scene.judge_message(message)
    except RefusalError:
        return False
    return True


# No single change of something genuine is accepted


@given(mutations(ACCESS_TOKEN))
@wide
def test_no_character_of_an_access_token_can_be_changed(text: str) -> None:
    with pytest.raises(RefusalError):
        judge_access_token(text)


@scenes
@given(data=st.data())
@wide
def test_no_character_of_a_header_can_be_changed(name: str, data: st.DataObject) -> None:
    message = MESSAGES[name]
    header = data.draw(st.sampled_from(sorted(message.headers)))
    value = data.draw(mutations(str(message.headers[header])))

    _refused(SCENES[name], replace(message, headers={**message.headers, header: value}))


@scenes
@given(data=st.data())
@bounded
def test_no_header_can_be_replaced(name: str, data: st.DataObject) -> None:
    message = MESSAGES[name]
    header = data.draw(st.sampled_from(sorted(message.headers)))
    value = data.draw(amqp_values)

    _refused(SCENES[name], replace(message, headers={**message.headers, header: value}))


@scenes
@given(data=st.data())
@bounded
def test_no_header_can_be_repeated_in_another_case(name: str, data: st.DataObject) -> None:
    message = MESSAGES[name]
    header = data.draw(st.sampled_from(sorted(message.headers)))
    flips = data.draw(st.lists(st.booleans(), min_size=len(header), max_size=len(header)))
    other = "".join(c.upper() if up else c for c, up in zip(header, flips, strict=True))
    assume(other != header)
    value = data.draw(st.just(message.headers[header]) | amqp_values)

    _refused(SCENES[name], replace(message, headers={**message.headers, other: value}))


@scenes
@given(
    body=st.binary(max_size=200)
    | mutations(BODY.decode()).map(lambda s: s.encode("utf-8", "surrogatepass"))
)
@bounded
def test_no_other_body_is_accepted(name: str, body: bytes) -> None:
    assume(body != BODY)

    _refused(SCENES[name], replace(MESSAGES[name], body=body))


@scenes
@given(type_=st.none() | any_text | mutations(PLACE.type))
@bounded
def test_no_other_type_is_accepted(name: str, type_: str | None) -> None:
    assume(type_ != MESSAGES[name].type)

    _refused(SCENES[name], replace(MESSAGES[name], type=type_))


@pytest.mark.parametrize("name", ["request", "public request"])
@given(reply_to=st.none() | any_text)
@bounded
def test_no_other_address_of_the_reply_is_accepted(name: str, reply_to: str | None) -> None:
    assume(reply_to != MESSAGES[name].reply_to)

    _refused(SCENES[name], replace(MESSAGES[name], reply_to=reply_to))


@scenes
@given(data=st.data())
@bounded
def test_no_message_is_accepted_in_the_place_of_another(name: str, data: st.DataObject) -> None:
    other = data.draw(st.sampled_from(sorted(set(SCENES) - {name})))
    parts = data.draw(st.sets(st.sampled_from(["headers", "body", "type", "reply_to"]), min_size=1))
    taken = {part: getattr(MESSAGES[other], part) for part in parts}
    mixed = replace(MESSAGES[name], **taken)
    assume(mixed.headers != MESSAGES[name].headers or mixed.type != MESSAGES[name].type)

    _refused(SCENES[name], mixed)


# No input, however made, raises anything but a refusal


@given(any_text | token_text)
@wide
def test_any_text_as_a_token_is_refused(text: str) -> None:
    with pytest.raises(RefusalError):
        judge_access_token(text)


@scenes
@given(
    body=st.binary(max_size=50),
    headers=st.dictionaries(header_names, amqp_values, max_size=5),
    type_=st.none() | any_text,
    reply_to=st.none() | any_text,
)
@wide
def test_any_message_is_refused(
    name: str, body: bytes, headers: dict[str, object], type_: str | None, reply_to: str | None
) -> None:
    _refused(SCENES[name], UnverifiedMessage(body, headers, type_, reply_to))


def _sign(token: Token, header: object, payload: object) -> str:
    """Any JSON at all in the place of header and payload, signed by the genuine key."""
    parts = [
        encode_base64url(json.dumps(part).encode("utf-8", "surrogatepass"))
        for part in (header, payload)
    ]
    signing_input = ".".join(parts)
    return f"{signing_input}.{encode_base64url(token.key.sign(signing_input.encode()))}"


@st.composite
def spoilt(draw: st.DrawFn, genuine: dict[str, object]) -> object:
    """The genuine object with some members replaced, added or left out; or any JSON instead."""
    if draw(st.integers(0, 9)) == 0:
        return draw(json_values)
    members = st.sampled_from(sorted(genuine)) | any_text
    replaced = draw(st.dictionaries(members, json_values, max_size=3))
    dropped = draw(st.sets(st.sampled_from(sorted(genuine)), max_size=1))
    return {k: v for k, v in {**genuine, **replaced}.items() if k not in dropped}


def _header_of(token: Token) -> dict[str, object]:
    return {"alg": token.key.algorithm, "kid": token.key.kid, "typ": token.typ}


@pytest.mark.parametrize("place", ["access token", "carnet", "seal", "carnet by itself"])
@given(data=st.data())
@wide
def test_whatever_a_genuine_key_signs_is_accepted_or_refused(
    place: str, data: st.DataObject
) -> None:
    """A signer that is broken, or hostile, can bring about a refusal and nothing else."""
    scene = SCENES["command"]
    token = {"access token": access_token(), "seal": scene.seal}.get(place, carnet())
    text = _sign(
        token,
        data.draw(st.just(_header_of(token)) | spoilt(_header_of(token))),
        data.draw(spoilt(dict(token.claims))),
    )
    if place == "access token":
        try:
            judge_access_token(text)
        except RefusalError:
            return
    elif place == "carnet":
        # Its seal is made for it, so that the checks behind `ath` are reached as well.
        sealed = replace(scene, carnet=replace(carnet(), mangle=lambda _: text))
        _judged(sealed, sealed.message())
    else:
        name = "carnet-seal" if place == "seal" else "authorization"
        value = text if place == "seal" else f"Bearer {text}"
        message = MESSAGES["command"]
        _judged(scene, replace(message, headers={**message.headers, name: value}))


@given(st.data())
@wide
def test_whatever_the_root_signs_is_believed_or_refused(data: st.DataObject) -> None:
    text = WHO.key_set().statement
    genuine = parse_json_object(decode_base64url(text.split(".")[1]))
    token = Token(genuine, KEY_SET, WHO.root)
    payload: Any = data.draw(spoilt(genuine))
    if isinstance(payload, dict) and data.draw(st.booleans()):
        jwk = WHO.stranger.public.to_jwk()
        payload["issuer"] = {"iss": "x", "keys": [data.draw(spoilt({**jwk, "state": "active"}))]}
    try:
        WHO.trust_root.verify(_sign(token, _header_of(token), payload), now=NOW)
    except KeySetError:
        return


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d"]),
        json_values
        | st.sampled_from(["EC", "OKP", "RSA", "P-256", "Ed25519", "AQAB"])
        | token_text,
    )
)
@wide
def test_any_object_is_a_key_or_is_refused(jwk: dict[str, Any]) -> None:
    for read in (VerificationKey.from_jwk, RecipientKey.from_jwk):
        try:
            read(jwk)
        except KeySetError:
            continue


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@wide
def test_any_bytes_as_a_trust_root_are_refused(data: bytes) -> None:
    with pytest.raises(KeySetError):
        TrustRoot.from_json(data)


SEALED_BODY = WHO.users_enc.public.encrypt(BODY).decode()


@given(
    st.binary(max_size=200)
    | token_text.map(str.encode)
    | mutations(SEALED_BODY).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@wide
def test_any_bytes_as_an_encrypted_body_are_refused(data: bytes) -> None:
    with pytest.raises(RefusalError):
        WHO.users_enc.decrypt(data)


@given(st.data())
@wide
def test_any_header_of_an_encrypted_body_is_refused(data: st.DataObject) -> None:
    header, rest = SEALED_BODY.split(".", 1)
    genuine = parse_json_object(decode_base64url(header))
    epk: Any = data.draw(spoilt(genuine["epk"]))
    made = data.draw(st.just({**genuine, "epk": epk}) | spoilt(genuine))
    assume(made != genuine)
    text = encode_base64url(json.dumps(made).encode("utf-8", "surrogatepass"))

    with pytest.raises(RefusalError):
        WHO.users_enc.decrypt(f"{text}.{rest}".encode())


@given(any_text)
@settings(bounded, max_examples=10)
def test_any_text_is_a_password_that_is_right_or_wrong(password: str) -> None:
    assert not verify_password(None, password)


# What the strict front lets through is what every parser reads alike


@given(any_text | token_text)
@wide
def test_base64url_has_one_text_for_the_same_bytes(text: str) -> None:
    try:
        data = decode_base64url(text)
    except ValueError:
        return
    assert encode_base64url(data) == text


@given(st.binary(max_size=100))
@bounded
def test_all_bytes_have_a_base64url_text(data: bytes) -> None:
    assert decode_base64url(encode_base64url(data)) == data


@given(
    st.binary(max_size=60)
    | json_values.map(lambda v: json.dumps(v, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    | st.dictionaries(any_text, json_values).map(lambda v: json.dumps(v).encode())
)
@wide
def test_strict_json_reads_as_any_json_does_or_not_at_all(data: bytes) -> None:
    try:
        parsed = parse_json_object(data)
    except ValueError:
        return
    assert parsed == json.loads(data)
    json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode("utf-8", "strict")


# Times, against the inequalities of docs/wire-contract.md

seconds = st.integers(NOW - 400, NOW + 400)


@given(
    issued=seconds,
    life=st.integers(-5, 320),
    sealed=seconds,
    wanted=st.integers(-5, 320),
    now=seconds,
)
@wide
def test_a_carnet_that_is_judged_now_is_accepted_within_these_times_and_no_others(
    issued: int, life: int, sealed: int, wanted: int, now: int
) -> None:
    ends, wanted_until = issued + life, sealed + wanted
    scene = command_scene().with_carnet(iat=issued, exp=ends)
    scene = replace(scene.with_seal(iat=sealed, exp=wanted_until), expiry=at_processing(), now=now)
    expected = (
        0 < life <= 300
        and 0 <= wanted <= 300
        and issued - LEEWAY <= sealed <= min(ends, now + LEEWAY)
        and issued <= now + LEEWAY
        and now <= ends + LEEWAY
        and now <= wanted_until + LEEWAY
    )

    assert _judged(scene, scene.message()) == expected


@given(now=st.floats(NOW, NOW + 100), life=st.floats(0.001, 300))
@bounded
def test_no_fraction_of_a_second_costs_a_message_its_life(now: float, life: float) -> None:
    scene = replace(command_scene(), carnet=None)
    seal = Sealer(GATEWAY, WHO.gateway).command(
        route=PLACE,
        audience=ORDERS,
        message_id=MESSAGE_ID,
        body=BODY,
        carnet=None,
        now=now,
        expires_at=now + life,
    )
    scene = replace(scene, policy=SCENES["public request"].policy, expiry=at_processing(), now=now)

    message = UnverifiedMessage(BODY, {"carnet-seal": seal}, PLACE.type)

    assert scene.judge_message(message).seal.exp >= now + life


def test_the_genuine_messages_are_accepted() -> None:
    """Without which the properties above would hold of a verifier that refuses everything."""
    for name, scene in SCENES.items():
        scene.judge_message(MESSAGES[name])
    judge_access_token(ACCESS_TOKEN)
    assert WHO.users_enc.decrypt(SEALED_BODY.encode()) == BODY
