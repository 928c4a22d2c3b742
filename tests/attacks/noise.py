"""Messages that nobody sealed: random, mutated and malformed, each drawn by its number.

What is done to a message is the same in every run; the keys beneath it are each process's own.
"""

import json
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any, Final

from auth.message import AUTHORIZATION, BEARER, CARNET_SEAL, UnverifiedMessage
from tests.auth.forge import PLACE, Scene, command_scene

SHORT: Final = 255
JUNK: Final[list[Any]] = [None, [], {}, -1, "", "x", 1.5, True, 10**15, "\u0660", [["x"]]]
"""What no claim that binds a message may be."""
CARNET_CLAIMS: Final = ("iss", "sub", "aud", "exp", "iat", "jti", "act", "scope")
SEAL_CLAIMS: Final = ("k", "iss", "aud", "jti", "iat", "exp", "ath", "bh", "ex", "rk", "ty")
ROUTING: Final = ("CC", "BCC")
"""Headers that the broker reads itself: it closes the channel where they are no list of texts."""
ALPHABET: Final = "ABCyz019-_.= \n\0\u00e9\u0435\U0001f375"


@cache
def _scene() -> Scene:
    return command_scene()


@cache
def _genuine() -> UnverifiedMessage:
    return _scene().with_seal(jti="7d44ba5c-8e2f-4b6e-9d3a-3f0f6a6f2c11").message()


def message(seed: int, number: int) -> UnverifiedMessage:
    """The message of this number: never a genuine one."""
    random = Random(f"{seed}:{number}")  # noqa: S311 - to be made again, not to be secret
    make = random.choice((_random, _mutated, _mutated, _malformed))
    return make(random)


def _random(random: Random) -> UnverifiedMessage:
    headers: dict[str, object] = {
        _text(random, 20) or "x": _value(random, 3) for _ in range(random.randrange(4))
    }
    for name in ROUTING:
        headers.pop(name, None)
    if random.random() < 0.8:
        headers[AUTHORIZATION] = random.choice((BEARER, "bearer ", "")) + _token(random)
    if random.random() < 0.8:
        headers[CARNET_SEAL] = _token(random)
    types = (PLACE.type, "orders.cancel.v1", _text(random, 40), None)
    return UnverifiedMessage(
        body=random.randbytes(random.randrange(300)), headers=headers, type=random.choice(types)
    )


def _mutated(random: Random) -> UnverifiedMessage:
    genuine = _genuine()
    what = random.choice(("body", AUTHORIZATION, CARNET_SEAL, "swapped"))
    if what == "body":
        return replace(genuine, body=_changed(random, genuine.body.decode("latin-1")).encode())
    headers = dict(genuine.headers)
    if what == "swapped":
        headers[AUTHORIZATION] = BEARER + str(genuine.headers[CARNET_SEAL])
    else:
        headers[what] = _changed(random, str(headers[what]))
    return replace(genuine, headers=headers)


def _malformed(random: Random) -> UnverifiedMessage:
    """Signed by the genuine keys, with one claim that cannot be."""
    scene = _scene()
    value = random.choice(JUNK)
    if random.random() < 0.5:
        claim = random.choice(CARNET_CLAIMS)
        # An empty scope is a scope: one that is refused after the inbox was asked.
        return scene.with_carnet(**{claim: value if claim != "scope" else [value]}).message()
    return scene.with_seal(**{random.choice(SEAL_CLAIMS): value}).message()


def _changed(random: Random, text: str) -> str:
    """Another text: a piece cut, repeated, moved or replaced."""
    while True:
        start = random.randrange(len(text))
        end = min(len(text), start + random.randrange(1, 8))
        piece = random.choice(("", text[start:end] * 2, _text(random, 4), text[start:end][::-1]))
        if (other := text[:start] + piece + text[end:]) != text:
            return other


def _token(random: Random) -> str:
    parts = (_text(random, 60), json.dumps(_value(random, 2)), random.randbytes(40).hex())
    return ".".join(random.sample(parts, random.randrange(1, 4)))


def _text(random: Random, most: int) -> str:
    return "".join(random.choices(ALPHABET, k=random.randrange(most + 1)))


def _value(random: Random, deep: int) -> Any:
    if deep == 0 or random.random() < 0.7:
        return random.choice((None, True, 7, -(2**31), 1.5, _text(random, 30)))
    if random.random() < 0.5:
        return [_value(random, deep - 1) for _ in range(random.randrange(4))]
    return {f"k{n}": _value(random, deep - 1) for n in range(random.randrange(4))}
