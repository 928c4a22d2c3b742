"""joserfc as the second opinion: what our verifier accepts, it accepts, and reads alike.

The other direction does not hold and is not meant to: our front is the stricter one.
"""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk, jws
from joserfc.errors import SecurityWarning

from auth.errors import RefusalError
from auth.jws import members
from auth.keys import Algorithm, SigningKey
from auth.message import UnverifiedMessage
from auth.seal import SealClaims
from auth.strict import decode_base64url, encode_base64url
from auth.tokens import AccessClaims, CarnetClaims
from tests.auth.forge import (
    Parties,
    Token,
    access_token,
    carnet,
    command_scene,
    judge_access_token,
    parties,
)

ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "RS256", "EdDSA")


@pytest.fixture(autouse=True)
def _eddsa_is_meant() -> Iterator[None]:
    """Joserfc would rather see RFC 9864's name for EdDSA."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield


def _second_opinion(text: str, key: SigningKey) -> Any:
    """The claims that joserfc reads from a token; it raises where it does not believe it."""
    public = jwk.import_key({**key.public.to_jwk()})
    registry = jws.JWSRegistry(algorithms=[key.algorithm])
    opened = jws.deserialize_compact(text, public, registry=registry)
    return json.loads(opened.payload)


def _tokens(who: Parties, message: UnverifiedMessage) -> Iterator[tuple[str, SigningKey]]:
    yield access_token(who).text, who.issuer
    yield str(message.headers["authorization"]).removeprefix("Bearer "), who.issuer
    yield str(message.headers["carnet-seal"]), who.gateway
    yield who.key_set().statement, who.root


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_kind_of_genuine_token_is_believed_by_both(algorithm: Algorithm) -> None:
    who = parties(algorithm)
    message = command_scene(who).message()
    judged = command_scene(who).judge_message(message)
    assert judged.carnet is not None
    ours: list[AccessClaims | CarnetClaims | SealClaims] = [
        judge_access_token(access_token(who), who=who),
        judged.carnet,
        judged.seal,
    ]

    theirs = [_second_opinion(text, key) for text, key in _tokens(who, message)]

    for mine, other in zip(ours, theirs, strict=False):
        assert members(mine) == other


@st.composite
def _variations(draw: st.DrawFn, token: Token) -> str:
    """The token as another implementation might write it, or spoilt in its signature."""
    claim = draw(st.sampled_from(sorted(token.claims)) | st.text(max_size=3))
    value = draw(st.none() | st.booleans() | st.integers() | st.text(max_size=20))
    claims = {**token.claims, claim: value} if draw(st.booleans()) else dict(token.claims)
    indent = draw(st.none() | st.integers(0, 3))
    ascii_only = draw(st.booleans())
    payload = json.dumps(claims, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    text = replace(token, write_payload=lambda _: payload).text
    signing_input, _, signature = text.rpartition(".")
    raw = bytearray(decode_base64url(signature))
    if draw(st.booleans()):
        raw[draw(st.integers(0, len(raw) - 1))] ^= draw(st.integers(1, 255))
    return f"{signing_input}.{encode_base64url(bytes(raw))}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.data())
@settings(max_examples=60, deadline=None, database=None)
def test_whatever_we_accept_is_believed_by_both(algorithm: Algorithm, data: st.DataObject) -> None:
    who = parties(algorithm)
    scene = command_scene(who)
    place = data.draw(st.sampled_from(["access token", "carnet", "seal"]))
    ours: AccessClaims | CarnetClaims | SealClaims | None
    try:
        if place == "access token":
            text, key = data.draw(_variations(access_token(who))), who.issuer
            ours = judge_access_token(text, who=who)
        elif place == "carnet":
            text, key = data.draw(_variations(carnet(who))), who.issuer
            ours = replace(scene, carnet=replace(carnet(who), mangle=lambda _: text)).judge().carnet
        else:
            message = scene.message()
            genuine = json.loads(
                decode_base64url(str(message.headers["carnet-seal"]).split(".")[1])
            )
            text, key = data.draw(_variations(replace(scene.seal, claims=genuine))), who.gateway
            headers = {**message.headers, "carnet-seal": text}
            ours = scene.judge_message(replace(message, headers=headers)).seal
    except RefusalError:
        return

    theirs = _second_opinion(text, key)

    assert ours is not None
    for name, value in members(ours).items():
        assert theirs[name] == value
