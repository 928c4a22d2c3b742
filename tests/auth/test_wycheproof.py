"""The vectors of C2SP/wycheproof, against the layers below the claims.

Their tokens have no `typ` and their keys no thumbprint for a name, so what is missing is added
to the header that is checked, and the key's name is left out; form, header, algorithm, key and
signature are judged by the code that judges every token.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from auth.errors import AuthError, Code, KeySetError, RefusalError
from auth.jws import check_algorithm, check_key, check_signature
from auth.keys import ALLOWED_ALGORITHMS, VerificationKey
from auth.strict import UnverifiedToken, check_members, parse_json_object, split_token
from tests.auth.forge import parties

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
FILES = ("wycheproof_json_web_signature.json", "wycheproof_json_web_key.json")
TYP = "JOSE"

if not VECTORS.is_dir():
    pytest.skip("the vectors are not beside this repository", allow_module_level=True)


@dataclass(frozen=True)
class Vector:
    """A token, the keys it is to be judged by, and whether wycheproof calls it valid."""

    name: str
    keys: list[dict[str, Any]]
    jws: str | dict[str, Any]
    valid: bool

    @property
    def is_ours(self) -> bool:
        """Whether its keys are of algorithms that we allow."""
        return all(jwk.get("alg") in ALLOWED_ALGORITHMS for jwk in self.keys)

    @property
    def has_our_form(self) -> bool:
        """Whether it has a payload and canonical base64url; some valid ones have not."""
        return not any(word in self.name for word in ("emptyPayload", "InvalidCharacter"))


def _vectors() -> Iterator[Vector]:
    for file in FILES:
        kind = file.removeprefix("wycheproof_json_web_").removesuffix(".json")
        for group in json.loads((VECTORS / file).read_text())["testGroups"]:
            key = group.get("public") or group["private"]
            for test in group["tests"]:
                yield Vector(
                    name=f"{kind} {test['tcId']}: {group['comment']}, {test['comment']}",
                    keys=key.get("keys", [key]),
                    jws=test["jws"],
                    valid=test["result"] == "valid",
                )


ALL = list(_vectors())


def _named(vectors: list[Vector]) -> list[Any]:
    return [pytest.param(vector, id=vector.name) for vector in vectors]


def _judge(vector: Vector) -> None:
    """Accept the vector's token under its keys, or refuse it.

    Raises:
        AuthError: any refusal of ours.
    """
    keys = [VerificationKey.from_jwk({**jwk, "kid": _thumbprint(jwk)}) for jwk in vector.keys]
    form = split_token(vector.jws if isinstance(vector.jws, str) else json.dumps(vector.jws))
    header = parse_json_object(form.unverified_header)
    token = UnverifiedToken(
        check_members({"typ": TYP, "kid": keys[0].kid, **header}),
        form.unverified_payload,
        form.signing_input,
        form.signature,
    )
    check_algorithm(token, typ=TYP)
    check_key(token, keys[0])
    check_signature(token, keys[0])


def _thumbprint(jwk: dict[str, Any]) -> str:
    return VerificationKey.from_jwk({k: v for k, v in jwk.items() if k != "kid"}).kid


@pytest.mark.parametrize("vector", _named([v for v in ALL if not v.valid]))
def test_an_invalid_vector_is_refused(vector: Vector) -> None:
    with pytest.raises(AuthError):
        _judge(vector)


@pytest.mark.parametrize(
    "vector", _named([v for v in ALL if v.valid and v.is_ours and v.has_our_form])
)
def test_a_valid_vector_of_our_algorithms_is_accepted(vector: Vector) -> None:
    _judge(vector)


@pytest.mark.parametrize("vector", _named([v for v in ALL if v.valid and not v.has_our_form]))
def test_a_valid_vector_that_has_not_our_form_is_refused_for_it(vector: Vector) -> None:
    ours = replace(vector, keys=[parties().issuer.public.to_jwk()])

    with pytest.raises(RefusalError) as refusal:
        _judge(ours)

    assert refusal.value.code == Code.MALFORMED_TOKEN


@pytest.mark.parametrize("vector", _named([v for v in ALL if v.valid and not v.is_ours]))
def test_a_valid_vectors_key_of_other_algorithms_is_not_taken(vector: Vector) -> None:
    with pytest.raises(KeySetError):
        _judge(vector)


@pytest.mark.parametrize(
    "vector", _named([v for v in ALL if v.valid and not v.is_ours and v.has_our_form])
)
def test_a_valid_vector_of_other_algorithms_is_refused_for_its_algorithm(vector: Vector) -> None:
    ours = replace(vector, keys=[parties().issuer.public.to_jwk()])

    with pytest.raises(RefusalError) as refusal:
        _judge(ours)

    assert refusal.value.code == Code.ALGORITHM_NOT_ALLOWED


def test_the_vectors_reach_the_layers_that_they_are_made_for() -> None:
    """A change that refused them all at the door would prove nothing."""
    reached: Counter[str] = Counter()
    for vector in ALL:
        try:
            _judge(vector)
        except AuthError as error:
            reached[error.code] += 1
        else:
            reached["accepted"] += 1

    assert reached["accepted"] == sum(v.valid and v.is_ours and v.has_our_form for v in ALL)
    assert reached[Code.BAD_SIGNATURE] > 200
    assert len(ALL) == 427
