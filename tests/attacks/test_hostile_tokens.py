"""Tokens beyond all measure, and each kind of token in the place of every other."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.errors import AuthError, Code, RefusalError
from auth.statements import Herald, Revocation
from tests.auth.forge import (
    Token,
    access_token,
    command_scene,
    judge_access_token,
    parties,
)


def _refusal(judge: Callable[[], object]) -> RefusalError:
    with pytest.raises(RefusalError) as refusal:
        judge()
    return refusal.value


def _written(member: str) -> Callable[[Token], Token]:
    return lambda token: replace(token, write_payload=lambda text: f"{text[:-1]}, {member}}}")


def test_a_token_nested_100_000_deep_is_refused() -> None:
    """Before it is parsed: it is longer than a token may be."""
    deep = _written('"x": ' + "[" * 100_000 + "]" * 100_000)(access_token())

    assert _refusal(lambda: judge_access_token(deep)).code == Code.OVERSIZED_TOKEN


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
def test_a_time_of_4000_digits_is_refused(claim: str) -> None:
    token = access_token().but(**{claim: 0})

    def digits(count: int) -> Token:
        number = f'"{claim}": ' + "9" * count
        return replace(token, write_payload=lambda text: text.replace(f'"{claim}": 0', number))

    long, shorter = digits(4000), digits(1900)

    assert _refusal(lambda: judge_access_token(long)).code == Code.OVERSIZED_TOKEN
    assert _refusal(lambda: judge_access_token(shorter)).code == Code.MALFORMED_CLAIMS


def _statements(herald: Herald, now: float) -> dict[str, str]:
    key = parties().issuer
    revoked = Revocation(seq=1, sid="session-of-alice-0001", until=int(now) + 900)
    return {
        "revocation": herald.revocation(revoked, key=key, now=now),
        "heartbeat": herald.heartbeat(seq=1, version=1, key=key, now=now),
        "snapshot": herald.snapshot([revoked], after=0, upto=1, seq=1, version=1, key=key, now=now),
    }


def test_no_token_serves_in_the_place_of_another() -> None:
    """Every kind that the issuer or a client signs, wherever a token is asked for."""
    scene = command_scene()
    message = scene.message()
    now = scene.now
    herald = Herald(scene.key_set.issuer, "feed-0000000000000001")
    carnet = str(message.headers["authorization"]).removeprefix("Bearer ")
    genuine = {
        "access token": access_token().text,
        "carnet": carnet,
        "seal": str(message.headers["carnet-seal"]),
        "key set": scene.key_set.statement,
        **_statements(herald, now),
    }
    places: dict[str, Callable[[str], object]] = {
        "access token": judge_access_token,
        "carnet": lambda text: scene.with_headers(authorization=f"Bearer {text}").judge(),
        "seal": lambda text: scene.with_headers(carnet_seal=text).judge(),
        "key set": lambda text: parties().trust_root.verify(text, now=now),
    }

    for place, judge in places.items():
        for kind, text in genuine.items():
            if kind != place:
                with pytest.raises(AuthError) as refusal:
                    judge(text)
                assert refusal.value.code in {Code.WRONG_TYPE, "key_set"}, f"{kind} as {place}"
